//! Asking PagerDuty for the keys of an incident that its webhook did not tell: is it one of ours?

use super::{Context, observe::ASK_WITHIN};
use crate::model::{input::Input, page::DedupKey, peer::PeerNews, time::Span};

/// A blip must not make two incidents of one.
const TRIES: u32 = 3;
const PAUSE: Span = Span::seconds(2);

pub(super) async fn ask(context: &Context, news: &PeerNews) -> Input {
    let mut known = news.clone();
    let has_key = news.incident.keys.iter().any(|key| DedupKey::parse(key).is_some());
    // It told, or has been asked: then it only waited.
    if has_key || news.asked.is_some() {
        known.asked.get_or_insert(Ok(()));
        return Input::Peer(Box::new(known));
    }
    let mut asked = Ok(());
    for attempt in 1..=TRIES {
        match context.world.peer_keys(&news.incident.id, ASK_WITHIN).await {
            Ok(keys) => {
                known.incident.keys.extend(keys);
                asked = Ok(());
                break;
            }
            Err(why) => asked = Err(why),
        }
        if attempt < TRIES {
            let clock = context.engine.clock();
            clock.sleep_until(clock.now() + PAUSE).await;
        }
    }
    known.asked = Some(asked);
    Input::Peer(Box::new(known))
}
