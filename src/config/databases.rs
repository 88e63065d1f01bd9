//! The PostgreSQL servers of the settings: `postgres: {NAME: {url_file: PATH}}`, and the URLs that such files hold.

use super::{check::Check, file, values::is_name, yaml::Located};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use std::collections::BTreeMap;

/// One connection to each is kept open.
const MOST_DATABASES: usize = 100;

impl Check {
    pub(super) fn databases(
        &mut self,
        written: BTreeMap<String, Located<file::Database>>,
    ) -> BTreeMap<String, SecretString> {
        let mut databases = BTreeMap::new();
        if let Some(last) = written.values().nth(MOST_DATABASES) {
            self.problems.push(last.place.error(format!("more than {MOST_DATABASES} databases")));
        }
        for (name, Located { value, place }) in written.into_iter().take(MOST_DATABASES) {
            if !is_name(&name) {
                let shown = crate::telemetry::text::shortened(&name, 60);
                let what = format!("`{shown}` is not a name: letters, digits, `.`, `_` and `-`, at most 64");
                self.problems.push(place.error(what));
            }
            let Some(url_file) = self.needed(value.url_file, &format!("postgres.{name}.url_file"), &place) else {
                continue;
            };
            databases.extend(self.postgres_url(&url_file).map(|url| (name, url)));
        }
        databases
    }

    /// The URL that a file holds. It is never shown: it may hold a password.
    pub(super) fn postgres_url(&mut self, url_file: &Located<String>) -> Option<SecretString> {
        const SUCH_AS: &str = "such as postgres://user:password@host/database";
        let url = self.secret(url_file)?;
        let given = url.expose_secret();
        if !given.starts_with("postgres://") && !given.starts_with("postgresql://") {
            self.problems.push(url_file.error("the file holds no PostgreSQL URL").hint(SUCH_AS));
            return None;
        }
        if given.parse::<PgConnectOptions>().is_err() {
            let what = "the PostgreSQL URL in the file cannot be read";
            let hint = format!("{SUCH_AS}; `%`, `@`, `/` and `#` in a password are written as %25, %40, %2F and %23");
            self.problems.push(url_file.error(what).hint(hint));
            return None;
        }
        Some(url)
    }
}
