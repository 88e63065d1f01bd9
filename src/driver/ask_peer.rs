//! Asking PagerDuty for the keys of an incident that its webhook did not tell: is it one of ours?

use super::{Context, observe::ASK_WITHIN};
use crate::model::{input::Input, peer::PeerNews, time::Span};

/// A blip must not make two incidents of one.
const TRIES: u32 = 3;
const PAUSE: Span = Span::seconds(2);

pub(super) async fn ask(context: &Context, news: &PeerNews) -> Input {
    let mut known = news.clone();
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
