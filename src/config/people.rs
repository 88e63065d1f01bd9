//! Who is told and paged: `people: {NAME: {slack: S0123ABC, pagerduty: {routing_key_file: PATH}}}`.

use super::{
    check::Check,
    file,
    settings::Person,
    values::{is_channel_name, is_name, is_slack_id},
    yaml::Located,
};
use std::collections::BTreeMap;

/// Names that escalations may use.
const MOST_PEOPLE: usize = 200;
/// The PagerDuty service that is nobody's in particular, as [`crate::decide::policy::DEFAULT_SERVICE`] has it.
const DEFAULT_SERVICE: &str = "default";

impl Check {
    /// `calls`: Slack is set up, or PagerDuty.
    pub(super) fn people(
        &mut self,
        written: BTreeMap<String, Located<file::Person>>,
        calls: bool,
    ) -> BTreeMap<String, Person> {
        let mut people: BTreeMap<String, Person> = BTreeMap::new();
        let first = written.values().next().map(|first| first.place.clone());
        if let Some(last) = written.values().nth(MOST_PEOPLE) {
            self.problems.push(last.place.error(format!("more than {MOST_PEOPLE} people")));
        }
        for (name, Located { value, place }) in written.into_iter().take(MOST_PEOPLE) {
            if !is_name(&name) {
                let shown = crate::telemetry::text::shortened(&name, 60);
                let what = format!("`{shown}` is not a name: letters, digits, `.`, `_` and `-`, at most 64");
                self.problems.push(place.error(what));
            }
            if name == DEFAULT_SERVICE {
                let what = format!("nobody can be named `{DEFAULT_SERVICE}`");
                self.problems.push(place.error(what).hint("it is the service of pagerduty.routing_key_file"));
            }
            if value.slack.is_none() && value.pagerduty.is_none() {
                if self.complete {
                    let hint = "set slack: S0123ABC, or pagerduty: {routing_key_file: PATH}";
                    self.problems.push(place.error(format!("`{name}` cannot be reached")).hint(hint));
                }
                continue;
            }
            if let Some(slack) = value.slack.as_ref().filter(|slack| !is_slack_id(slack) && !is_channel_name(slack)) {
                let what = format!("`{}` is neither a Slack id nor `#name`", slack.value);
                self.problems.push(slack.error(what).hint("the id of a user, user group or channel, such as S0123ABC"));
            }
            let routing_key = value.pagerduty.and_then(|Located { value, place }| {
                let key = format!("people.{name}.pagerduty.routing_key_file");
                let file = self.needed(value.routing_key_file, &key, &place)?;
                self.routing_key(&file)
            });
            people.insert(name, Person { slack: value.slack.map(|slack| slack.value), routing_key });
        }
        if let (Some(first), false, true) = (first, calls, self.complete)
            && people.values().all(|person| person.routing_key.is_none())
        {
            let what = "neither Slack nor PagerDuty is set up: none of these people can be called";
            let hint = "set slack.channel and slack.bot_token_file, or pagerduty.routing_key_file";
            self.problems.push(first.warning(what).hint(hint));
        }
        people
    }

    /// The channel where what concerns security is told too.
    pub(super) fn security(&mut self, written: file::Security, has_slack: bool) -> Option<String> {
        let written = written.slack?;
        if !has_slack && self.complete {
            let hint = "set slack.channel and slack.bot_token_file";
            self.problems.push(written.error("security.slack needs Slack").hint(hint));
        }
        self.channel(written, "'#security' (in quotes) or C0123ABC")
    }

    /// `#name`, or an id.
    pub(super) fn channel(&mut self, written: Located<String>, such_as: &str) -> Option<String> {
        let place = written.place.clone();
        let channel = self.filled(written)?;
        if !is_slack_id(&channel) && !is_channel_name(&channel) {
            let what = format!("`{channel}` is neither `#name` nor a Slack id");
            self.problems.push(place.error(what).hint(format!("such as {such_as}")));
        }
        Some(channel)
    }
}
