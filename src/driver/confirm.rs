//! Asking about an alert that nobody refreshes, before it is called lost.

use super::{Context, observe::ASK_WITHIN};
use crate::{decide::work::AskedAlert, model::input::Input};

pub(super) async fn confirm(context: &Context, alert: &AskedAlert) -> Option<Input> {
    let answer = context.world.firing(std::slice::from_ref(alert), context.now(), ASK_WITHIN).await;
    let delivered = context.engine.deliveries(vec![alert.fingerprint.clone()]).await.ok()?;
    Some(Input::Confirmed {
        fingerprint: alert.fingerprint.clone(),
        delivered: delivered.get(&alert.fingerprint).copied(),
        answer,
    })
}
