//! Asks Slack at the start, and after each change, whether it takes the bot token: before the first letter needs it.

use crate::peer::slack::{
    client::{Call, Failure, SlackClient},
    standing::Standing,
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const ASKED_WITHIN: Duration = Duration::from_secs(10);
/// A token that was refused, or not answered about, is asked about again.
const AGAIN: Duration = Duration::from_secs(60);

/// Runs until `stop`. Nothing waits for its answer.
pub async fn watch(client: Arc<SlackClient>, standing: Arc<Standing>, stop: CancellationToken) {
    loop {
        let answer = client.write(Call::Test, "", &json!({}), Instant::now() + ASKED_WITHIN).await;
        let is_known = match answer {
            Ok(_) => {
                standing.takes(None);
                true
            }
            Err(Failure::Permanent { reason }) => {
                standing.refuses("", reason);
                false
            }
            // Slack is not there: that is no word about the token, and letters say it too.
            Err(failure) => {
                tracing::debug!(?failure, "Slack was not asked about the bot token");
                false
            }
        };
        let again = async {
            if is_known {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(AGAIN).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = client.token_replaced() => {}
            () = again => {}
        }
    }
}
