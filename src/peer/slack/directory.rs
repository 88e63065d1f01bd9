//! Who somebody is: our workspace and app, a person, who belongs to a group. Asked when they click, kept for a little.
//!
//! A person is known by user id and workspace, never by a name. Guests, bots, people of other workspaces and those who
//! left are nobody here, whatever a list says of their id.

use super::client::{Call, Failure, SlackClient};
use crate::model::time::{Micros, Span};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::time::Instant;

/// What Slack said of a person or a group holds so long, where it is not asked again.
const KEPT: Span = Span::seconds(60);
/// Where asking again fails, so long.
const KEPT_AT_MOST: Span = Span::minutes(5);
/// People and groups that are kept; more than any on-call rotation.
const REMEMBERED: usize = 1000;

/// Where our bot is at home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// `T0123ABC`.
    pub team: String,
    /// `A0123ABC`; None where the bot may not read it (`users:read`).
    pub app: Option<String>,
}

/// A full member of our workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub user: String,
    /// As they want to be called: somebody's own words.
    pub name: String,
}

/// Why somebody is not taken for a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// Slack could not be asked, or may not tell.
    NotAsked(Failure),
    /// A guest, a bot, somebody of another workspace, or gone.
    Stranger(&'static str),
}

#[derive(Default)]
struct Kept {
    home: Option<Home>,
    members: BTreeMap<String, (Micros, Member)>,
    groups: BTreeMap<String, (Micros, Vec<String>)>,
}

pub struct Directory {
    client: Arc<SlackClient>,
    kept: Mutex<Kept>,
}

impl Directory {
    #[must_use]
    pub fn new(client: Arc<SlackClient>) -> Directory {
        Directory { client, kept: Mutex::default() }
    }

    /// Our workspace and app. Asked once: a token belongs to one of each.
    pub async fn home(&self, deadline: Instant) -> Result<Home, Failure> {
        if let Some(home) = self.kept().home.clone() {
            return Ok(home);
        }
        let answer = self.client.write(Call::Test, "", &json!({}), deadline).await?;
        let text = |name| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        let team = text("team_id").ok_or(Failure::Permanent { reason: "bad_answer" })?;
        let app = match text("bot_id") {
            Some(bot) => match self.client.read(Call::Bot, "", &[("bot", &bot)], deadline).await {
                Ok(answer) => answer.pointer("/bot/app_id").and_then(Value::as_str).map(str::to_owned),
                Err(failure @ Failure::Transient { .. }) => return Err(failure),
                Err(_) => None,
            },
            None => None,
        };
        let home = Home { team, app };
        self.kept().home = Some(home.clone());
        Ok(home)
    }

    /// The member with this id.
    pub async fn member(&self, user: &str, now: Micros, deadline: Instant) -> Result<Member, Unknown> {
        if let Some((at, member)) = self.kept().members.get(user)
            && *at + KEPT >= now
        {
            return Ok(member.clone());
        }
        let home = self.home(deadline).await.map_err(Unknown::NotAsked)?;
        let answer = match self.client.read(Call::User, "", &[("user", user)], deadline).await {
            Ok(answer) => answer,
            Err(Failure::Permanent { reason: "user_not_found" | "user_not_visible" }) => {
                self.kept().members.remove(user);
                return Err(Unknown::Stranger("Slack knows no such person"));
            }
            Err(failure) => return Err(Unknown::NotAsked(failure)),
        };
        match member_of(&answer, user, &home) {
            Ok(member) => {
                keep(&mut self.kept().members, user, now, member.clone());
                Ok(member)
            }
            Err(why) => {
                self.kept().members.remove(user);
                Err(Unknown::Stranger(why))
            }
        }
    }

    /// Which of `listed` (ids of groups among others) somebody belongs to, and since when that is known at the least.
    pub async fn groups_of(
        &self,
        user: &str,
        listed: &[String],
        now: Micros,
        deadline: Instant,
    ) -> Result<(Vec<String>, Micros), Failure> {
        let (mut groups, mut known_at) = (Vec::new(), now);
        for group in listed.iter().filter(|id| id.starts_with('S')) {
            let (at, members) = self.members_of(group, now, deadline).await?;
            if members.iter().any(|member| member == user) {
                known_at = known_at.min(at);
                groups.push(group.clone());
            }
        }
        Ok((groups, known_at))
    }

    async fn members_of(&self, group: &str, now: Micros, deadline: Instant) -> Result<(Micros, Vec<String>), Failure> {
        let kept = self.kept().groups.get(group).cloned();
        if let Some((at, members)) = &kept
            && *at + KEPT >= now
        {
            return Ok((*at, members.clone()));
        }
        match self.client.read(Call::Group, "", &[("usergroup", group)], deadline).await {
            Ok(answer) => {
                let users = answer.get("users").and_then(Value::as_array);
                let users = users.ok_or(Failure::Permanent { reason: "bad_answer" })?;
                let members: Vec<String> = users.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                keep(&mut self.kept().groups, group, now, members.clone());
                Ok((now, members))
            }
            // A group that is gone or switched off has nobody in it.
            Err(Failure::Permanent { reason: "no_such_subteam" | "subteam_disabled" }) => Ok((now, Vec::new())),
            Err(failure @ Failure::Transient { .. }) => match kept {
                Some((at, members)) if at + KEPT_AT_MOST >= now => Ok((at, members)),
                _ => Err(failure),
            },
            Err(failure) => Err(failure),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep<T>(kept: &mut BTreeMap<String, (Micros, T)>, id: &str, now: Micros, value: T) {
    if kept.len() >= REMEMBERED {
        kept.retain(|_, (at, _)| *at + KEPT_AT_MOST >= now);
    }
    if kept.len() < REMEMBERED {
        kept.insert(id.to_owned(), (now, value));
    }
}

fn member_of(answer: &Value, user: &str, home: &Home) -> Result<Member, &'static str> {
    let Some(found) = answer.get("user").filter(|found| found.get("id").and_then(Value::as_str) == Some(user)) else {
        return Err("Slack answers about somebody else");
    };
    let is = |name: &str| found.get(name).and_then(Value::as_bool).unwrap_or(false);
    if is("deleted") {
        return Err("they left the workspace");
    }
    if is("is_bot") || is("is_app_user") || is("is_workflow_bot") || user == "USLACKBOT" {
        return Err("it is a bot");
    }
    if is("is_restricted") || is("is_ultra_restricted") {
        return Err("they are a guest of the workspace");
    }
    let of_ours = found.get("team_id").and_then(Value::as_str) == Some(home.team.as_str())
        || found
            .pointer("/enterprise_user/teams")
            .and_then(Value::as_array)
            .is_some_and(|teams| teams.iter().any(|team| team.as_str() == Some(home.team.as_str())));
    if is("is_stranger") || !of_ours {
        return Err("they belong to another workspace");
    }
    let name = ["/profile/display_name", "/real_name", "/name"].iter().find_map(|place| {
        let name = found.pointer(place)?.as_str()?;
        (!name.trim().is_empty()).then(|| name.to_owned())
    });
    Ok(Member { user: user.to_owned(), name: name.unwrap_or_else(|| user.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_members_of_our_workspace_are_somebody() {
        let home = Home { team: "T1".to_owned(), app: None };
        let person = |more: Value| {
            let mut user = json!({"id": "U1", "team_id": "T1", "name": "ana", "profile": {"display_name": ""}});
            user.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            member_of(&json!({"ok": true, "user": user}), "U1", &home)
        };
        assert_eq!(person(json!({})).unwrap().name, "ana");
        assert_eq!(person(json!({"profile": {"display_name": "Ana 🌙"}})).unwrap().name, "Ana 🌙");
        assert!(person(json!({"team_id": "T9", "enterprise_user": {"teams": ["T1"]}})).is_ok());
        for stranger in [
            json!({"deleted": true}),
            json!({"is_bot": true}),
            json!({"is_app_user": true}),
            json!({"is_workflow_bot": true}),
            json!({"is_restricted": true}),
            json!({"is_ultra_restricted": true}),
            json!({"is_stranger": true}),
            json!({"team_id": "T9"}),
            json!({"team_id": null}),
            json!({"id": "U2"}),
        ] {
            assert!(person(stranger.clone()).is_err(), "{stranger}");
        }
        assert!(member_of(&json!({"ok": true}), "U1", &home).is_err());
    }
}
