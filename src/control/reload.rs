//! Reading the configuration again: what there is to tell of it, and the route for it on the admin socket.
//!
//! | route | meaning |
//! |---|---|
//! | `POST /v1/reload` | as SIGHUP, with what came of it as the answer |

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};

use super::admin::{method_not_allowed, run};
use super::{Error, ErrorKind, wire};

/// Reads the configuration again. The error is a sentence.
pub type Reload = Arc<dyn Fn() -> Result<wire::Reloaded, String> + Send + Sync>;

/// The route.
pub fn router(reload: Reload) -> Router {
    Router::new()
        .route("/v1/reload", post(answer))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(reload)
}

async fn answer(State(reload): State<Reload>) -> Result<Json<wire::Reloaded>, Error> {
    run(Arc::new(reload), |reload| {
        reload().map_err(|problem| Error::new(ErrorKind::InvalidConfiguration, problem))
    })
    .await
}
