//! The status page of the settings, and the owner's sentences: a file a component, which a reload reads anew.

use super::{
    check::Check,
    file,
    node::Place,
    settings::{StatusComponent, Statuspage},
    typed,
    values::is_name,
    yaml::{self, Located},
};
use crate::model::{
    problem::Problem,
    public::{ComponentStatus, Publish, Sentences},
};
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

/// Each costs a file, and a line on a page that people are to overlook.
const MOST_COMPONENTS: usize = 100;
/// What the service takes.
const LONGEST_TITLE_CHARS: usize = 255;
const LONGEST_SENTENCE_CHARS: usize = 25_000;
/// The service's ids are short words.
const LONGEST_ID: usize = 64;
/// What stands in an example that nobody filled in, or belongs to a template that is not there.
const BRACES: [&str; 5] = ["{{", "}}", "{%", "%}", "${"];

impl Check {
    /// `None`: it is not set up, and customers are told nothing.
    pub(super) fn statuspage(&mut self, written: file::Statuspage) -> Option<Statuspage> {
        let api_url = written.api_url.and_then(|url| self.secret_url(&url));
        let is_empty = written.components.as_ref().is_none_or(BTreeMap::is_empty);
        let components = self.components(written.components.unwrap_or_default());
        if let Some(page) = &written.page {
            self.is_id(page, "a page");
        }
        let api_key = written.api_key_file.as_ref().and_then(|file| self.secret(file));
        if self.complete {
            let first = components.values().next().map(|component| &component.place);
            let lacks = match (&written.page, &written.api_key_file, first) {
                (Some(page), None, _) => Some((&page.place, "statuspage.page needs statuspage.api_key_file")),
                (None, Some(file), _) => Some((&file.place, "statuspage.api_key_file needs statuspage.page")),
                (None, None, Some(place)) => {
                    Some((place, "statuspage.components needs statuspage.page and statuspage.api_key_file"))
                }
                (Some(page), Some(_), None) if is_empty => {
                    Some((&page.place, "statuspage has no components: nothing is published"))
                }
                (Some(_), Some(_), _) | (None, None, None) => None,
            };
            self.problems.extend(lacks.map(|(place, what)| place.error(what)));
        }
        Some(Statuspage {
            page: written.page?.value,
            api_key: api_key?,
            api_url: api_url?,
            publish: written.publish.map_or(Publish::Draft, |publish| publish.value),
            notify_subscribers: written.notify_subscribers.is_some_and(|notify| notify.value),
            components,
        })
    }

    fn components(
        &mut self,
        written: BTreeMap<String, Located<file::StatusComponent>>,
    ) -> BTreeMap<String, StatusComponent> {
        let mut components: BTreeMap<String, StatusComponent> = BTreeMap::new();
        if let Some(last) = written.values().nth(MOST_COMPONENTS) {
            self.problems.push(last.place.error(format!("more than {MOST_COMPONENTS} components")));
        }
        for (name, Located { value, place }) in written.into_iter().take(MOST_COMPONENTS) {
            if !is_name(&name) {
                let shown = crate::telemetry::text::shortened(&name, 60);
                let what = format!("`{shown}` is not a name: letters, digits, `.`, `_` and `-`, at most 64");
                self.problems.push(place.error(what));
            }
            let at = |key: &str| format!("statuspage.components.{name}.{key}");
            let id = self.needed(value.id, &at("id"), &place);
            let file = self.needed(value.sentences_file, &at("sentences_file"), &place);
            let shows = value.status.unwrap_or_default().into_iter();
            let shows = shows.filter_map(|(severities, shows)| self.shows(severities, shows)).collect();
            let sentences_file = file.and_then(|file| self.sentences(&file));
            let (Some(id), Some(sentences_file)) = (id, sentences_file) else { continue };
            self.is_id(&id, "a component");
            if let Some((other, _)) = components.iter().find(|(_, known)| known.id == id.value) {
                let what = format!("`{other}` and `{name}` are the same component");
                self.problems.push(id.error(what));
            }
            components.insert(name, StatusComponent { id: id.value, sentences_file, shows, place });
        }
        components
    }

    fn shows(
        &mut self,
        severities: String,
        shows: Located<ComponentStatus>,
    ) -> Option<(Located<String>, ComponentStatus)> {
        match shows.value {
            ComponentStatus::DegradedPerformance | ComponentStatus::PartialOutage | ComponentStatus::MajorOutage => {
                Some((Located { value: severities, place: shows.place }, shows.value))
            }
            ComponentStatus::UnderMaintenance | ComponentStatus::Operational => {
                let what = format!("an incident does not make a component {}", shows.value.says());
                let hint = "degraded_performance, partial_outage or major_outage";
                self.problems.push(shows.error(what).hint(hint));
                None
            }
        }
    }

    /// Read here too, so that every problem is told at once; what they say is read where the rules are.
    fn sentences(&mut self, file: &Located<String>) -> Option<std::path::PathBuf> {
        let path = self.readable(file)?;
        match sentences(&path) {
            Ok(_) => Some(path),
            Err(problems) => {
                self.problems.extend(problems);
                None
            }
        }
    }

    /// It stands in the path of every request.
    fn is_id(&mut self, id: &Located<String>, of: &str) {
        let right = !id.value.is_empty()
            && id.value.len() <= LONGEST_ID
            && id.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !right {
            let shown = crate::telemetry::text::shortened(&id.value, 60);
            let what = format!("`{shown}` is not the id of {of}");
            self.problems
                .push(id.error(what).hint("as the service shows it: letters and digits, such as 8kbf7d35c070"));
        }
    }
}

/// The file as its owner writes it.
#[derive(Default, Deserialize)]
struct Written {
    title: Option<Located<String>>,
    investigating: Option<Located<String>>,
    identified: Option<Located<String>>,
    monitoring: Option<Located<String>>,
    resolved: Option<Located<String>>,
}

/// Reads a component's sentences: all of them, or every problem.
pub fn sentences(path: &Path) -> Result<Sentences, Vec<Problem>> {
    let name = path.display().to_string();
    let unread = |what: String| vec![Place::of(&name).error(what)];
    let about = std::fs::metadata(path).map_err(|error| unread(format!("cannot be read: {error}")))?;
    if about.len() > yaml::LARGEST_TEXT_BYTES as u64 {
        return Err(yaml::too_large(&name, about.len()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unread(format!("cannot be read: {error}")))?;
    read(&name, &text)
}

fn read(name: &str, text: &str) -> Result<Sentences, Vec<Problem>> {
    let (tree, mut problems) = yaml::tree(name, text)?;
    let (written, more) = typed::read_partly::<Written>(&tree);
    problems.extend(more);
    let written = written.unwrap_or_default();
    let mut sentence = |key: &str, written: Option<Located<String>>, longest: usize| {
        let Some(written) = written else {
            problems.push(tree.place.error(format!("key `{key}` is missing")));
            return String::new();
        };
        let said = written.value.trim().to_owned();
        problems.extend(wrong(&said, longest).into_iter().map(|(what, hint)| written.error(what).hint(hint)));
        if key == "title" && said.contains('\n') {
            problems.push(written.error("a title is one line"));
        }
        said
    };
    let sentences = Sentences {
        title: sentence("title", written.title, LONGEST_TITLE_CHARS),
        investigating: sentence("investigating", written.investigating, LONGEST_SENTENCE_CHARS),
        identified: sentence("identified", written.identified, LONGEST_SENTENCE_CHARS),
        monitoring: sentence("monitoring", written.monitoring, LONGEST_SENTENCE_CHARS),
        resolved: sentence("resolved", written.resolved, LONGEST_SENTENCE_CHARS),
    };
    problems.sort_by_key(|problem| (problem.line, problem.column));
    if problems.is_empty() { Ok(sentences) } else { Err(problems) }
}

/// What is wrong with a sentence, and how to mend it.
fn wrong(said: &str, longest: usize) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    let length = said.chars().count();
    if said.is_empty() {
        found.push(("the sentence is empty".to_owned(), "customers would read nothing: write what they are to know"));
    } else if length > longest {
        found.push((format!("it has {length} characters, more than {longest}"), "the status page takes no more"));
    }
    if let Some(brace) = BRACES.iter().find(|brace| said.contains(*brace)) {
        let hint = "sentences are sent as they stand: nothing is filled in";
        found.push((format!("`{brace}` belongs to a template"), hint));
    }
    if said.chars().any(|letter| letter.is_control() && letter != '\n') {
        found.push(("it holds a control character".to_owned(), "write plain text"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../deploy/statuspage/claims.yaml");

    fn told(text: &str) -> Vec<String> {
        read("s.yaml", text).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_shipped_example_is_ready_to_use() {
        let sentences = read("claims.yaml", EXAMPLE).unwrap();
        for status in crate::model::letter::PublicStatus::ALL {
            assert!(sentences.of(status).ends_with('.'), "{status:?}");
        }
    }

    #[test]
    fn a_sentence_that_lacks_is_too_long_or_waits_to_be_filled_in_is_told() {
        let long = "x".repeat(256);
        let text = format!(
            "title: '{long}'\ninvestigating: ' '\nidentified: We know {{{{ cause }}}}.\nmonitoring: It is better.\nresolvd: Done.\n"
        );
        let missing = told(&text);
        assert_eq!(missing.len(), 5, "{missing:?}");
        assert_eq!(missing[0], "s.yaml:1:1: error: key `resolved` is missing");
        assert_eq!(missing[4], "s.yaml:5:1: error: unknown key `resolvd`\nhint: did you mean `resolved`?");
        let found = told(&text.replace("resolvd", "resolved"));
        assert_eq!(
            found,
            [
                "s.yaml:1:8: error: it has 256 characters, more than 255\nhint: the status page takes no more",
                "s.yaml:2:16: error: the sentence is empty\nhint: customers would read nothing: write what they are to know",
                "s.yaml:3:13: error: `{{` belongs to a template\nhint: sentences are sent as they stand: nothing is filled in",
            ]
        );
        let sentence = "y".repeat(25_000);
        let text = |sentence: &str| {
            format!("title: a\ninvestigating: b\nidentified: c\nmonitoring: d\nresolved: {sentence}\n")
        };
        assert!(read("s.yaml", &text(&sentence)).is_ok());
        assert_eq!(told(&text(&format!("{sentence}y"))).len(), 1);
        assert_eq!(
            told(&text("e").replace("title: a", "title: \"a\\nb\"")),
            ["s.yaml:1:8: error: a title is one line"]
        );
    }
}
