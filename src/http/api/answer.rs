//! What the API answers: JSON, and where it does not do what was asked, `{"error": …, "hint": …}`.

use crate::{
    engine::Refused,
    http::{
        api_auth::ApiRefused,
        limits::{BodyRefused, JsonRefused},
    },
    journal,
    model::problem::Problem,
};
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

/// The body of everything that is not 2xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    pub error: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Of a refused reload: what is wrong with the files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// A request that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotDone {
    pub status: StatusCode,
    pub body: ErrorBody,
}

impl NotDone {
    pub fn new(status: StatusCode, error: impl Into<String>) -> NotDone {
        NotDone { status, body: ErrorBody { error: error.into(), hint: None, problems: Vec::new() } }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> NotDone {
        self.body.hint = Some(hint.into());
        self
    }

    pub fn bad(error: impl Into<String>) -> NotDone {
        NotDone::new(StatusCode::BAD_REQUEST, error)
    }

    pub fn unknown(what: impl Into<String>) -> NotDone {
        NotDone::new(StatusCode::NOT_FOUND, what)
    }

    /// The new rules were refused; the old ones decide on.
    #[must_use]
    pub fn refused_rules(problems: Vec<Problem>) -> NotDone {
        let mut refused = NotDone::new(StatusCode::UNPROCESSABLE_ENTITY, "the reload was refused: the old rules stay")
            .hint("run `nightshift check` where the files are");
        refused.body.problems = problems;
        refused
    }
}

impl IntoResponse for NotDone {
    fn into_response(self) -> Response {
        let mut answer = (self.status, Json(self.body)).into_response();
        let mut add = |name, value| answer.headers_mut().insert(name, HeaderValue::from_static(value));
        match self.status {
            StatusCode::UNAUTHORIZED => add(header::WWW_AUTHENTICATE, "Bearer realm=\"nightshift\""),
            StatusCode::SERVICE_UNAVAILABLE => add(header::RETRY_AFTER, "1"),
            _ => None,
        };
        answer
    }
}

impl From<ApiRefused> for NotDone {
    fn from(refused: ApiRefused) -> NotDone {
        let told = NotDone::new(refused.status(), refused.to_string());
        match refused {
            ApiRefused::Right(right) => told.hint(format!("add `{}` to its `may` under `api.tokens`", right.word())),
            ApiRefused::Token => told.hint("the CLI takes --token-file or NIGHTSHIFT_TOKEN_FILE"),
            ApiRefused::NotLoopback
            | ApiRefused::Host
            | ApiRefused::Origin
            | ApiRefused::ContentType
            | ApiRefused::User => told,
        }
    }
}

impl From<Refused> for NotDone {
    fn from(refused: Refused) -> NotDone {
        let told = NotDone::new(StatusCode::SERVICE_UNAVAILABLE, refused.to_string());
        match refused {
            Refused::Full | Refused::Stopping => told.hint("nothing was done: try again"),
            Refused::JournalDown => {
                told.hint("it may still be done once the journal answers: look before you repeat it")
            }
        }
    }
}

impl From<journal::Error> for NotDone {
    fn from(error: journal::Error) -> NotDone {
        let status = if error.retry() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR };
        NotDone::new(status, error.to_string())
    }
}

impl From<BodyRefused> for NotDone {
    fn from(refused: BodyRefused) -> NotDone {
        match refused {
            BodyRefused::TooLarge { max } => {
                NotDone::new(refused.status(), format!("the body is larger than {max} bytes"))
            }
            BodyRefused::Busy | BodyRefused::Slow | BodyRefused::Broken => {
                NotDone::new(refused.status(), refused.to_string())
            }
        }
    }
}

impl From<JsonRefused> for NotDone {
    fn from(refused: JsonRefused) -> NotDone {
        NotDone::bad(refused.to_string())
    }
}
