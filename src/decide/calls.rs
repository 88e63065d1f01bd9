//! Who was called for an incident, by what, and who is next: as people see it.

use super::{Policy, State, levels::Reach, pages::Page};
use crate::model::{
    id::IncidentId,
    letter::{PageState, Receiver},
    view::{CallView, PageView},
};

impl State {
    pub(super) fn call_views(&self, policy: &Policy, id: IncidentId) -> Vec<CallView> {
        let mut calls = Vec::new();
        for (_, incident) in self.family(id) {
            let levels = policy.levels(&incident.severity);
            for call in &incident.calls {
                let (to, level) = match &call.level {
                    Some(called) => (Some(called.to.clone()), called.number),
                    None => (levels.first().map(|first| first.to.clone()), 1),
                };
                let by = by_what(policy, self.receiver_of_root(id), to.as_deref());
                let levels = u32::try_from(levels.len()).unwrap_or(u32::MAX).max(level);
                calls.push(CallView { at: call.at, to, level, levels, by });
            }
        }
        calls.sort_by_key(|call| call.at);
        calls
    }

    pub(super) fn next_call(&self, policy: &Policy, id: IncidentId) -> Option<CallView> {
        let incident = self.incidents.get(&id)?;
        let escalation = incident.escalation.as_ref().filter(|it| it.rests_since.is_none())?;
        let levels = policy.levels(&incident.severity);
        let to = levels.get(escalation.level as usize)?.to.clone();
        Some(CallView {
            at: escalation.at?,
            by: by_what(policy, self.receiver_of_root(id), Some(&to)),
            to: Some(to),
            level: escalation.level.saturating_add(1),
            levels: u32::try_from(levels.len()).unwrap_or(u32::MAX),
        })
    }

    pub(super) fn page_views(&self, id: IncidentId) -> Vec<PageView> {
        let family = self.family(id).map(|(id, _)| id);
        let pages = family.flat_map(|id| self.pages_of(id).map(move |(number, page)| (id, number, page)));
        pages
            .map(|(id, number, page)| PageView {
                at: page.at,
                service: page.service.clone(),
                says: self.page_says(id, number, page),
            })
            .collect()
    }

    fn page_says(&self, id: IncidentId, number: u32, page: &Page) -> String {
        let letter = self.letters.get(&page.letter(id, number));
        let told = letter.and_then(|letter| letter.external.as_ref()?.paged()).map(|paged| word(paged.page));
        match letter {
            Some(letter) if let Some(reason) = &letter.refused => {
                format!("PagerDuty refuses it until that is set right: {reason}")
            }
            Some(letter) if letter.told < letter.want => {
                let before = told.map(|told| format!(", is {told} so far")).unwrap_or_default();
                format!("{} is on its way{before}", word(page.wants))
            }
            // It was not taken, and nobody tries again.
            Some(_) if told.is_none() => format!("PagerDuty has not taken that it is {}", word(page.wants)),
            _ => told.unwrap_or_else(|| word(page.wants)).to_owned(),
        }
    }

    fn receiver_of_root(&self, id: IncidentId) -> Option<&Receiver> {
        self.incidents.get(&self.root_of(id))?.receiver.as_ref()
    }
}

fn by_what(policy: &Policy, thread: Option<&Receiver>, to: Option<&str>) -> String {
    let own = to.and_then(|name| match policy.reach(name) {
        Reach::Channel(channel) => Some(channel.to_owned()),
        Reach::Mention(_) | Reach::Nowhere => None,
    });
    let thread = thread.and_then(|receiver| match receiver {
        Receiver::Slack { channel } => Some(channel.clone()),
        Receiver::IncidentChannel { .. } | Receiver::PagerDuty { .. } | Receiver::Statuspage { .. } => None,
    });
    let channels: Vec<String> = thread.into_iter().chain(own).collect();
    if channels.is_empty() {
        return "in the log: there is no Slack".to_owned();
    }
    format!("in Slack, {}", channels.join(" and "))
}

fn word(state: PageState) -> &'static str {
    match state {
        PageState::Triggered => "triggered",
        PageState::Acknowledged => "acknowledged",
        PageState::Resolved => "resolved",
    }
}
