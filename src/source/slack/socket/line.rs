//! One web socket, from its opening to its end: hello, envelopes and their acknowledgements, signs of life, farewell.
//!
//! A click is acknowledged once it is decided or refused, never before: what was not acknowledged Slack sends again, over
//! another connection if need be, and it is known again by its trigger. So whatever ends a line loses no click.

use super::envelope::{self, Ask, Envelope, Frame, Leave, acknowledgement};
use crate::{
    http::websocket::{Dialer, Heard, Over, Socket},
    peer::slack::{
        client::{Call, Failure, SlackClient},
        directory::Directory,
    },
    source::slack::{
        desk::{Desk, answer_in_time},
        payload,
    },
    telemetry::{
        labels::{Answer, Source},
        metrics::Metrics,
    },
};
use serde_json::json;
use std::{future::pending, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    task::{self, Id, JoinSet},
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// The times of a line; other ones only for tests.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Asking where to connect to, and connecting.
    pub open_within: Duration,
    /// Slack says hello within a moment.
    pub hello_within: Duration,
    /// A sign of life is asked for so often, and must have come by the next time. Slack's own libraries ask every 5 to
    /// 10 s.
    pub ping_every: Duration,
    /// A line that Slack is about to end goes on for at most so long. Slack ends it within some 10 s.
    pub leave_within: Duration,
    /// What is being done at the end is waited for, to be acknowledged.
    pub finish_within: Duration,
}

impl Default for Times {
    fn default() -> Times {
        Times {
            open_within: Duration::from_secs(15),
            hello_within: Duration::from_secs(10),
            ping_every: Duration::from_secs(5),
            leave_within: Duration::from_secs(300),
            finish_within: Duration::from_secs(5),
        }
    }
}

/// What a line needs.
pub struct Line {
    /// With the app's token.
    pub client: Arc<SlackClient>,
    pub dialer: Dialer,
    pub desk: Desk,
    /// Whose bot we are: the app's token must be of the same app.
    pub directory: Arc<Directory>,
    pub metrics: Metrics,
    pub times: Times,
}

/// What is told of a line while it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Slack has said hello.
    Up,
    /// Slack will end it: another one is needed.
    Leaving,
}

/// Where news go, each with the line's task.
pub type Told = mpsc::Sender<(Id, News)>;

/// How a line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// We were told to stop.
    Stopped,
    /// Slack had said so, and another one was asked for.
    Left,
    /// Socket Mode is switched off for the app.
    Disabled,
    /// The app has too many connections.
    TooMany,
    /// The app's token is no good, whenever it is tried.
    Refused(&'static str),
    /// It may be better next time.
    Failed { reason: &'static str, wait: Option<Duration> },
}

/// What is to be done about a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    Say(String),
    Hello(Option<String>),
    Leave(Leave),
    /// It is at the desk, or is nothing.
    GoOn,
}

fn failed(reason: &'static str) -> Ended {
    Ended::Failed { reason, wait: None }
}

impl Line {
    /// Opens it and serves it to its end.
    pub async fn run(&self, told: &Told, stop: &CancellationToken) -> Ended {
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return Ended::Stopped,
            opened = self.open() => opened,
        };
        match opened {
            Ok((socket, app)) => self.serve(socket, app.as_deref(), told, stop).await,
            Err(ended) => ended,
        }
    }

    /// The web socket, and our app's id where it is known.
    async fn open(&self) -> Result<(Socket, Option<String>), Ended> {
        let deadline = Instant::now() + self.times.open_within;
        // Asked once in a process. Without it each click is still matched.
        let app = self.directory.home(deadline).await.ok().and_then(|home| home.app);
        let deadline = Instant::now() + self.times.open_within;
        let answer =
            self.client.write(Call::Open, "", &json!({}), deadline).await.map_err(|failure| match failure {
                Failure::Permanent { reason } => Ended::Refused(reason),
                Failure::Transient { reason, retry_after, .. } => Ended::Failed { reason, wait: retry_after },
                Failure::Gone | Failure::NoThread | Failure::NameTaken => failed("bad_answer"),
            })?;
        let address = envelope::address(&answer).ok_or(failed("bad_answer"))?;
        let left = deadline.saturating_duration_since(Instant::now());
        let socket = self.dialer.dial(address, left).await.map_err(|problem| failed(problem.reason()))?;
        Ok((socket, app))
    }

    async fn serve(&self, mut socket: Socket, app: Option<&str>, told: &Told, stop: &CancellationToken) -> Ended {
        let mut doing = JoinSet::new();
        let mut pings = interval_at(Instant::now() + self.times.ping_every, self.times.ping_every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pong_is_due = false;
        let mut hello_by = Some(Instant::now() + self.times.hello_within);
        let mut leave_by = None;
        let ended = loop {
            // What has come is looked at before the silence is: it may be the sign of life that is waited for.
            tokio::select! {
                biased;
                () = stop.cancelled() => break Ended::Stopped,
                Some(done) = doing.join_next() => {
                    if let Ok(Some(text)) = done
                        && let Err(over) = socket.say(text).await
                    {
                        break ended_by(over, leave_by.is_some());
                    }
                }
                heard = socket.hear() => {
                    let then = match heard {
                        Ok(Heard::Text(text)) => self.take(text.as_str(), &mut doing),
                        Ok(Heard::Pong) => {
                            pong_is_due = false;
                            Then::GoOn
                        }
                        Ok(Heard::Binary) => {
                            self.not_taken("binary", "bytes that are no text");
                            Then::GoOn
                        }
                        Err(over) => break ended_by(over, leave_by.is_some()),
                    };
                    match then {
                        Then::GoOn => {}
                        Then::Say(text) => if let Err(over) = socket.say(text).await {
                            break ended_by(over, leave_by.is_some());
                        }
                        Then::Hello(of) => {
                            if let (Some(ours), Some(of)) = (app, of) && ours != of {
                                break Ended::Refused("another_app");
                            }
                            if hello_by.take().is_some() {
                                tell(told, News::Up).await;
                            }
                        }
                        Then::Leave(Leave::Refresh) => if leave_by.is_none() {
                            leave_by = Some(Instant::now() + self.times.leave_within);
                            tell(told, News::Leaving).await;
                        }
                        Then::Leave(Leave::Disabled) => break Ended::Disabled,
                        Then::Leave(Leave::TooMany) => break Ended::TooMany,
                    }
                }
                _ = pings.tick() => {
                    // Only one side may know that a connection is over.
                    if pong_is_due {
                        break failed("no_pong");
                    }
                    if let Err(over) = socket.ping().await {
                        break ended_by(over, leave_by.is_some());
                    }
                    pong_is_due = true;
                }
                () = at(hello_by) => break failed("no_hello"),
                () = at(leave_by) => break Ended::Left,
            }
        };
        self.finish(socket, doing, ended).await;
        ended
    }

    /// Acknowledges what is being done, where somebody still listens, and says farewell.
    async fn finish(&self, mut socket: Socket, mut doing: JoinSet<Option<String>>, ended: Ended) {
        if !matches!(ended, Ended::Failed { .. }) {
            let rest = async {
                while let Some(done) = doing.join_next().await {
                    if let Ok(Some(text)) = done
                        && socket.say(text).await.is_err()
                    {
                        break;
                    }
                }
            };
            // What is not done by then goes on, and Slack sends it again.
            let _ = timeout(self.times.finish_within, rest).await;
        }
        socket.close(matches!(ended, Ended::Failed { reason: "too_large", .. })).await;
    }

    /// One message of Slack's.
    pub(super) fn take(&self, text: &str, doing: &mut JoinSet<Option<String>>) -> Then {
        match envelope::read(text) {
            Ok(Frame::Hello { app }) => Then::Hello(app),
            Ok(Frame::Disconnect(leave)) => Then::Leave(leave),
            Ok(Frame::Envelope(envelope)) => self.ask(envelope, doing),
            Ok(Frame::Unknown) => Then::GoOn,
            Err(not_read) => {
                self.not_taken("unreadable", &not_read.to_string());
                Then::GoOn
            }
        }
    }

    fn ask(&self, envelope: Envelope, doing: &mut JoinSet<Option<String>>) -> Then {
        let Envelope { id, takes_answer, ask } = envelope;
        let asked = match ask {
            Ask::Click(click) => {
                let once = payload::once(click.trigger.as_ref(), &id);
                self.desk.click(click, once).map(|done| {
                    doing.spawn(async move { done.await.ok().map(|()| acknowledgement(&id, None)) });
                })
            }
            Ask::Typed(typed) => {
                let once = payload::once(typed.trigger.as_ref(), &id);
                self.desk.typed(typed, once).map(|done| {
                    doing.spawn(async move {
                        let answer = answer_in_time(done).await?;
                        Some(acknowledgement(&id, takes_answer.then_some(&answer)))
                    });
                })
            }
            Ask::Nothing => return self.say_taken(&id),
            // Slack would send it for ever.
            Ask::Unreadable(not_read) => {
                self.not_taken("unreadable", &not_read.to_string());
                return Then::Say(acknowledgement(&id, None));
            }
        };
        match asked {
            Ok(()) => self.metrics.webhook_answered(Source::SlackSocket, Answer::Accepted),
            // Not acknowledged: Slack shows that it failed, and sends it again.
            Err(busy) => {
                self.metrics.webhook_answered(Source::SlackSocket, Answer::Overloaded);
                tracing::warn!(reason = "busy", says = %busy, "a message of Slack's socket was not taken");
            }
        }
        Then::GoOn
    }

    fn say_taken(&self, id: &str) -> Then {
        self.metrics.webhook_answered(Source::SlackSocket, Answer::Accepted);
        Then::Say(acknowledgement(id, None))
    }

    fn not_taken(&self, reason: &'static str, says: &str) {
        self.metrics.webhook_answered(Source::SlackSocket, Answer::Invalid);
        tracing::warn!(reason, says, "a message of Slack's socket was not taken");
    }
}

/// `announced`: Slack had said that it would end.
fn ended_by(over: Over, announced: bool) -> Ended {
    match over {
        Over::Closed if announced => Ended::Left,
        other => failed(other.reason()),
    }
}

async fn tell(told: &Told, news: News) {
    // Whoever no longer listens is stopping us.
    let _ = told.send((task::id(), news)).await;
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}
