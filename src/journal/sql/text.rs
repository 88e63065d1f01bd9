//! The one helper for statements whose length depends on how much there is to write.
//!
//! SQLite gets `?` (a multi-row INSERT with `$N` takes it quadratic time to parse), PostgreSQL `$n`.

/// The databases' ways to write a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// Parameters in one statement: SQLite takes 32,766, PostgreSQL 65,535.
pub(super) const PARAMETERS: usize = 32_000;

/// `(?,?),(?,?)` or `($1,$2),($3,$4)`.
pub(super) fn tuples(dialect: Dialect, rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows.saturating_mul(columns).saturating_mul(7));
    let mut number = 0_usize;
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ",(" });
        for column in 0..columns {
            if column > 0 {
                text.push(',');
            }
            number = number.saturating_add(1);
            match dialect {
                Dialect::Sqlite => text.push('?'),
                Dialect::Postgres => text.push_str(&format!("${number}")),
            }
        }
        text.push(')');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_database_gets_its_own_parameters() {
        assert_eq!(tuples(Dialect::Sqlite, 2, 3), "(?,?,?),(?,?,?)");
        assert_eq!(tuples(Dialect::Postgres, 2, 3), "($1,$2,$3),($4,$5,$6)");
        assert_eq!(tuples(Dialect::Postgres, 1, 1), "($1)");
    }
}
