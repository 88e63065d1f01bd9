//! Where things are: a relative path begins at the folder of the nightshift.yaml that says it, wherever nightshift is started.
//! In a variable or a flag it begins at the working directory, as people type it; and so does the default of the journal, which
//! a service manager gives a folder of its own to.

use super::{
    check::Check,
    file,
    node::Place,
    settings::{DEFAULTS_NAME, Journal, RulesFrom},
    yaml::Located,
};
use crate::model::problem::Problem;
use std::path::{Path, PathBuf};

const FROM_WHERE: &str = "a relative path is taken from the folder of the file that says it";

impl Check {
    pub(super) fn journal(&mut self, written: Option<Located<file::Journal>>) -> Journal {
        let Some(Located { value, place }) = written else { return Journal::Sqlite(PathBuf::new()) };
        match value {
            file::Journal::Sqlite(written) => {
                let path = place.path(&written);
                if is_elsewhere(&written, &path) {
                    let what = format!("there is no journal at {}, and one at {written}", path.display());
                    let hint = format!("{FROM_WHERE}: name the one you mean by its whole path");
                    self.problems.push(place.warning(what).hint(hint));
                }
                Journal::Sqlite(path)
            }
            file::Journal::Postgres { url_file } => Journal::Postgres(self.postgres_url(&url_file).unwrap_or_default()),
        }
    }

    pub(super) fn rules(&mut self, written: Option<Located<String>>) -> RulesFrom {
        let Some(written) = written else { return RulesFrom::Starter(PathBuf::new()) };
        let rules = rules_of(&written, &self.written_in);
        match &rules {
            Err(path) => {
                let problem = written.error(format!("`{}` does not exist", path.display()));
                let problem = problem.hint("without `rules` the starter rules inside the binary are used");
                self.problems.push(explained(problem, &written, path));
            }
            Ok(RulesFrom::Starter(path)) if is_elsewhere(&written.value, path) => {
                let what = format!(
                    "there is no `{}`, so the starter rules are used; `{}` of the working directory is not",
                    path.display(),
                    written.value
                );
                let hint =
                    "rules are looked for beside nightshift.yaml: move them there, or name their folder by `rules`";
                self.problems.push(self.written_in.warning(what).hint(hint));
            }
            Ok(RulesFrom::Starter(_) | RulesFrom::Path(_)) => {}
        }
        rules.unwrap_or_else(RulesFrom::Starter)
    }

    pub(super) fn pause_file(&mut self, written: Option<Located<String>>) -> Option<PathBuf> {
        let place = written.as_ref()?.place.clone();
        let path = self.filled(written?)?;
        Some(place.path(&path))
    }
}

/// `Err`: the path was given, and nothing is there. `written_in`: the file beside which the default is looked for.
pub(super) fn rules_of(written: &Located<String>, written_in: &Place) -> Result<RulesFrom, PathBuf> {
    let is_default = &*written.place.file == DEFAULTS_NAME;
    let path = if is_default { written_in } else { &written.place }.path(&written.value);
    match path.exists() {
        true => Ok(RulesFrom::Path(path)),
        false if is_default => Ok(RulesFrom::Starter(path)),
        false => Err(path),
    }
}

/// The same problem, with how the path came about where that is what is wrong.
pub(super) fn explained(problem: Problem, written: &str, path: &Path) -> Problem {
    if is_elsewhere(written, path) { problem.hint(FROM_WHERE) } else { problem }
}

/// Nothing is there, and something is where it would be from the working directory.
fn is_elsewhere(written: &str, path: &Path) -> bool {
    path != Path::new(written) && !path.exists() && Path::new(written).exists()
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;
    use std::path::{Path, PathBuf};

    #[test]
    fn a_path_begins_where_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("n.yaml");
        let pause = |text: &str, variables: &[(&str, &str)]| {
            std::fs::write(&file, text).unwrap();
            let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Settings::load(Some(&file), variables).unwrap().0.pause_file
        };
        assert_eq!(pause("pause_file: a/b\n", &[]), Some(folder.path().join("a/b")));
        assert_eq!(pause("pause_file: /a/b\n", &[]), Some(PathBuf::from("/a/b")));
        let variable = ("NIGHTSHIFT__PAUSE_FILE", "c");
        assert_eq!(pause("pause_file: a/b\n", &[variable]).as_deref(), Some(Path::new("c")));
    }
}
