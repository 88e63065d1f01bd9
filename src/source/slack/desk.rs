//! Where what people ask for waits and is done: Slack is answered in time, whatever that takes.

use super::{
    answers::Answers,
    payload::{Click, Typed},
};
use serde_json::{Value, json};
use std::{future::Future, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

/// An answer leaves within a second, whatever Slack and the journal do.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(900);

/// Asked for and not yet begun; beyond that people are told to try again.
const WAITING: usize = 64;
/// Done at a time: most of it is waiting for Slack.
const AT_A_TIME: usize = 16;
/// ... and besides, of those that ask that nothing acts any more: they wait for no others.
const PAUSES_AT_A_TIME: usize = 16;

enum Ask {
    Click { click: Click, once: String, done: oneshot::Sender<()> },
    Typed { typed: Typed, once: String, done: oneshot::Sender<Value> },
}

/// The door: cheap to clone.
#[derive(Clone)]
pub struct Desk {
    asks: mpsc::Sender<Ask>,
    pauses: mpsc::Sender<Ask>,
}

/// Too much is asked for at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too much is asked for at once: try again")]
pub struct Busy;

/// What the desk's task needs.
pub struct Work {
    asks: mpsc::Receiver<Ask>,
    pauses: mpsc::Receiver<Ask>,
    answers: Answers,
}

impl Desk {
    #[must_use]
    pub fn open(answers: Answers) -> (Desk, Work) {
        let ((to_asks, asks), (to_pauses, pauses)) = (mpsc::channel(WAITING), mpsc::channel(WAITING));
        (Desk { asks: to_asks, pauses: to_pauses }, Work { asks, pauses, answers })
    }

    /// A click; the receiver hears when it was decided, or refused. It is dealt with also when nobody listens.
    pub fn click(&self, click: Click, once: String) -> Result<oneshot::Receiver<()>, Busy> {
        let (done, heard) = oneshot::channel();
        self.asks.try_send(Ask::Click { click, once, done }).map_err(|_| Busy)?;
        Ok(heard)
    }

    /// A command; the receiver gets the answer.
    pub fn typed(&self, typed: Typed, once: String) -> Result<oneshot::Receiver<Value>, Busy> {
        let (done, heard) = oneshot::channel();
        let lane = if typed.is_pause() { &self.pauses } else { &self.asks };
        lane.try_send(Ask::Typed { typed, once, done }).map_err(|_| Busy)?;
        Ok(heard)
    }
}

/// What a command is answered: what came of it, or that it takes longer. None: it was not done, nor will be.
pub async fn answer_in_time(done: oneshot::Receiver<Value>) -> Option<Value> {
    match timeout(ANSWER_WITHIN, done).await {
        Ok(answer) => answer.ok(),
        Err(_) => {
            Some(said("It takes longer than Slack waits, and goes on: /nightshift status shows what came of it."))
        }
    }
}

/// An answer that only whoever typed sees.
#[must_use]
pub fn said(text: &str) -> Value {
    json!({"response_type": "ephemeral", "text": text})
}

impl Work {
    /// Until `stop`; what has begun by then is finished. `panicked`: told of each panic.
    pub async fn run(mut self, stop: impl Future<Output = ()>, panicked: impl Fn()) {
        let mut doing = JoinSet::new();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(ended) = doing.join_next() => if ended.is_err() { panicked() },
                Some(pause) = self.pauses.recv(), if doing.len() < AT_A_TIME + PAUSES_AT_A_TIME => {
                    begin(&mut doing, &self.answers, pause);
                }
                ask = self.asks.recv(), if doing.len() < AT_A_TIME => match ask {
                    Some(ask) => begin(&mut doing, &self.answers, ask),
                    None => break,
                },
            }
        }
        while let Some(ended) = doing.join_next().await {
            if ended.is_err() {
                panicked();
            }
        }
    }
}

fn begin(doing: &mut JoinSet<()>, answers: &Answers, ask: Ask) {
    let answers = answers.clone();
    doing.spawn(async move { one(&answers, ask).await });
}

async fn one(answers: &Answers, ask: Ask) {
    match ask {
        Ask::Click { click, once, done } => {
            let answer = answers.click(&click, &once).await;
            // It is journalled: Slack is answered before anybody is told.
            let _ = done.send(());
            answers.tell(&click, answer).await;
        }
        Ask::Typed { typed, once, done } => {
            let _ = done.send(answers.typed(&typed, &once).await);
        }
    }
}
