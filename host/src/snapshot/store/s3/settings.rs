//! How an S3 server is reached.

use std::time::Duration;

use rusty_s3::Credentials;

/// Patience with a server, see [`Settings::patience`].
const PATIENCE: Duration = Duration::from_secs(10);

/// How to reach a server, and as whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is, as in `http://127.0.0.1:9000`; `None`: Amazon's of the
    /// region.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: String,
    /// Who asks; `None`: anybody.
    pub credentials: Option<Credentials>,
    /// How long a connection may take, and each wait for the next bytes.
    pub patience: Duration,
}

impl Settings {
    /// As the usual variables say: AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL,
    /// AWS_REGION or AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID,
    /// AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (AWS SDKs and Tools
    /// Reference Guide).
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name| variable(name).filter(|value| !value.trim().is_empty());
        let either = |one, other| variable(one).or_else(|| variable(other));
        let credentials = || {
            let key = variable("AWS_ACCESS_KEY_ID")?;
            let secret = variable("AWS_SECRET_ACCESS_KEY")?;
            Some(match variable("AWS_SESSION_TOKEN") {
                Some(token) => Credentials::new_with_token(key, secret, token),
                None => Credentials::new(key, secret),
            })
        };
        Self {
            endpoint: either("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
            region: either("AWS_REGION", "AWS_DEFAULT_REGION").unwrap_or("us-east-1".into()),
            credentials: credentials(),
            patience: PATIENCE,
        }
    }
}
