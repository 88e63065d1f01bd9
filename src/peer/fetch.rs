//! One GET of a bounded body before a deadline, with errors as sentences that name no URL: it may hold credentials.

use std::{error::Error, time::Duration};
use tokio::time::Instant;

/// Filters beyond this are left out: proxies in between cut URLs at 8 KiB.
pub const QUERY_LIMIT: usize = 4 << 10;

/// Status and body, however the peer answered. `limit`: a longer body is an error.
pub async fn get(http: &reqwest::Client, url: &str, limit: usize, within: Duration) -> Result<(u16, Vec<u8>), String> {
    let until = Instant::now() + within;
    let late = |_| "it did not answer in time".to_owned();
    let request = http.get(url).header("accept", "application/json").timeout(within).send();
    let mut answer = tokio::time::timeout_at(until, request).await.map_err(late)?.map_err(sentence)?;
    let mut body = Vec::new();
    while let Some(chunk) = tokio::time::timeout_at(until, answer.chunk()).await.map_err(late)?.map_err(sentence)? {
        if body.len().saturating_add(chunk.len()) > limit {
            return Err(format!("its answer is larger than {} MiB", limit >> 20));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((answer.status().as_u16(), body))
}

fn sentence(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut next = error.source();
    for _ in 0..8 {
        let Some(cause) = next else { break };
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// The first words of a body that is no use otherwise.
pub fn beginning(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
