//! The metadata service for one network interface of one instance: a request
//! in, a response out.
//!
//! Whoever calls it knows which interface a request came from by the socket or
//! the tap that it came through, and asks that interface's service. Rules:
//! EC2, "Use the Instance Metadata Service".

use std::time::Duration;

use crate::id::InterfaceId;
use crate::instance::Instance;
use crate::options::{Options, Tokens};
use crate::rate::Rate;
use crate::request::{Method, Request};
use crate::response::{Response, Status};
use crate::token::{TimeToLive, TokenKey};
use crate::tree::{Tree, is_version};

/// What has been counted since the service began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests of version 1 that were answered (EC2's MetadataNoToken).
    pub without_token: u64,
    /// Requests of version 1 that were refused (MetadataNoTokenRejected).
    pub without_token_refused: u64,
    /// Requests that came too often.
    pub throttled: u64,
}

/// The service as one interface sees it.
pub struct Service {
    key: TokenKey,
    interface: InterfaceId,
    options: Options,
    tree: Tree,
    rate: Rate,
    counters: Counters,
}

impl Service {
    /// The service that tells `interface` about `instance`.
    pub fn new(instance: &Instance, interface: InterfaceId, key: TokenKey) -> Self {
        Self {
            key,
            interface,
            options: instance.options,
            tree: Tree::new(instance),
            rate: Rate::default(),
            counters: Counters::default(),
        }
    }

    /// The instance is another from now on; tokens stay valid.
    pub fn update(&mut self, instance: &Instance) {
        self.options = instance.options;
        self.tree = Tree::new(instance);
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The response to `request`, which came at `now` by a clock that does not
    /// go back, and is the same for all services with the same key.
    pub fn answer(&mut self, request: &Request, now: Duration) -> Response {
        if !self.rate.admits(now) {
            self.counters.throttled += 1;
            return Response::refusal(Status::Unavailable);
        }
        if !self.options.endpoint {
            return Response::refusal(Status::Forbidden);
        }
        if is_token_path(&request.path) {
            return self.token(request, now);
        }
        if !matches!(request.method, Method::Get | Method::Head) {
            return not_allowed("GET, HEAD");
        }
        if !self.may_read(request, now) {
            return Response::refusal(Status::Unauthorized);
        }
        match self.tree.get(&request.path) {
            Some(content) => Response::of(content),
            None => Response::refusal(Status::NotFound),
        }
    }

    /// A token, for who can send a PUT with a header of its own: what a guest's
    /// web server or proxy can be talked into sending for others is not that.
    fn token(&self, request: &Request, now: Duration) -> Response {
        if request.method != Method::Put {
            return not_allowed("PUT");
        }
        if request.forwarded {
            return Response::refusal(Status::Forbidden);
        }
        let asked = request.time_to_live.as_deref().and_then(TimeToLive::parse);
        let Some(time_to_live) = asked else {
            return Response::refusal(Status::BadRequest);
        };
        let token = self.key.issue(self.interface, time_to_live, now);
        Response {
            time_to_live: Some(time_to_live.seconds()),
            hop_limit: Some(self.options.hop_limit),
            ..Response::of(token.into_bytes())
        }
    }

    fn may_read(&mut self, request: &Request, now: Duration) -> bool {
        match (&request.token, self.options.tokens) {
            (Some(token), _) => self.key.accepts(self.interface, token, now),
            (None, Tokens::Optional) => {
                self.counters.without_token += 1;
                true
            }
            (None, Tokens::Required) => {
                self.counters.without_token_refused += 1;
                false
            }
        }
    }
}

fn not_allowed(allow: &'static str) -> Response {
    Response {
        allow: Some(allow),
        ..Response::refusal(Status::MethodNotAllowed)
    }
}

/// `/latest/api/token`, or the same of another version.
fn is_token_path(path: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    parts.next().is_some_and(is_version) && parts.eq(["api", "token"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::options::HopLimit;
    use crate::rate::PER_SECOND;
    use crate::request::parse;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn service(change: impl FnOnce(&mut Options)) -> Service {
        let mut instance = fixture::instance();
        change(&mut instance.options);
        let interface = instance.interfaces[0].id;
        Service::new(&instance, interface, TokenKey::new(&[7; 32]))
    }

    fn request(line: &str, headers: &str) -> Request {
        let text = format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        parse(text.as_bytes()).unwrap().unwrap()
    }

    fn ask(service: &mut Service, line: &str, headers: &str) -> Response {
        service.answer(&request(line, headers), NOW)
    }

    const TTL: &str = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n";
    const PUT: &str = "PUT /latest/api/token";
    const ID: &str = "GET /latest/meta-data/instance-id";

    fn token(service: &mut Service) -> String {
        let response = ask(service, PUT, TTL);
        let token = String::from_utf8(response.body).unwrap();
        format!("X-aws-ec2-metadata-token: {token}\r\n")
    }

    #[test]
    fn version_two_is_a_token_and_then_anything() {
        let mut service = service(|options| {
            options.tokens = Tokens::Required;
            options.hop_limit = HopLimit::new(2).unwrap();
        });
        let response = ask(&mut service, PUT, TTL);
        assert_eq!(response.status, Status::Ok);
        assert_eq!(response.time_to_live, Some(60));
        assert_eq!(response.hop_limit, HopLimit::new(2).ok());
        let token = token(&mut service);
        let response = ask(&mut service, ID, &token);
        assert_eq!(response, Response::of("i-0123456789abcdef0".into()));
        let late = service.answer(&request(ID, &token), NOW + Duration::from_secs(60));
        assert_eq!(late.status, Status::Unauthorized);
        assert_eq!(service.counters(), Counters::default());
    }

    #[test]
    fn version_one_is_counted_or_refused() {
        let mut optional = service(|_| ());
        assert_eq!(ask(&mut optional, ID, "").status, Status::Ok);
        assert_eq!(optional.counters().without_token, 1);
        let wrong = "X-aws-ec2-metadata-token: x\r\n";
        assert_eq!(ask(&mut optional, ID, wrong).status, Status::Unauthorized);
        let mut required = service(|options| options.tokens = Tokens::Required);
        assert_eq!(ask(&mut required, ID, "").status, Status::Unauthorized);
        assert_eq!(required.counters().without_token_refused, 1);
    }

    #[test]
    fn a_token_of_one_interface_is_none_of_another() {
        let mut first = service(|_| ());
        let token = token(&mut first);
        let instance = fixture::instance();
        let other = instance.interfaces[1].id;
        let mut second = Service::new(&instance, other, TokenKey::new(&[7; 32]));
        assert_eq!(ask(&mut second, ID, &token).status, Status::Unauthorized);
    }

    #[test]
    fn tokens_are_for_those_who_ask_for_them_rightly() {
        let mut service = service(|_| ());
        let mut status = |line: &str, headers: &str| ask(&mut service, line, headers).status;
        assert_eq!(status(PUT, ""), Status::BadRequest);
        for seconds in ["0", "21601", "x", ""] {
            let header = format!("X-aws-ec2-metadata-token-ttl-seconds: {seconds}\r\n");
            assert_eq!(status(PUT, &header), Status::BadRequest, "{seconds:?}");
        }
        let forwarded = format!("{TTL}X-Forwarded-For: 10.0.0.1\r\n");
        assert_eq!(status(PUT, &forwarded), Status::Forbidden);
        assert_eq!(status("PUT /2021-03-23/api/token/", TTL), Status::Ok);
        for method in ["GET", "HEAD", "POST", "DELETE"] {
            assert_eq!(
                status(&format!("{method} /latest/api/token"), TTL),
                Status::MethodNotAllowed
            );
        }
        assert_eq!(
            status("PUT /latest/user-data", TTL),
            Status::MethodNotAllowed
        );
        assert_eq!(
            status("POST /latest/user-data", ""),
            Status::MethodNotAllowed
        );
    }

    #[test]
    fn what_there_is_not_is_not_found() {
        let mut instance = fixture::instance();
        instance.user_data = None;
        let mut service = service(|_| ());
        assert_eq!(
            ask(&mut service, "GET /latest/user-data", "").status,
            Status::Ok
        );
        service.update(&instance);
        assert_eq!(
            ask(&mut service, "GET /latest/user-data", "").status,
            Status::NotFound
        );
        let credentials = "GET /latest/meta-data/iam/security-credentials/";
        assert_eq!(ask(&mut service, credentials, "").status, Status::NotFound);
        assert_eq!(
            ask(&mut service, "GET /latest/api", "").status,
            Status::NotFound
        );
    }

    #[test]
    fn a_service_that_is_turned_off_says_so() {
        let mut service = service(|options| options.endpoint = false);
        for line in [PUT, ID, "GET /", "POST /"] {
            assert_eq!(ask(&mut service, line, TTL).status, Status::Forbidden);
        }
    }

    #[test]
    fn who_asks_too_often_waits() {
        let mut service = service(|_| ());
        for _ in 0..PER_SECOND {
            assert_eq!(ask(&mut service, ID, "").status, Status::Ok);
        }
        assert_eq!(ask(&mut service, ID, "").status, Status::Unavailable);
        assert_eq!(service.counters().throttled, 1);
        let later = service.answer(&request(ID, ""), NOW + Duration::from_secs(1));
        assert_eq!(later.status, Status::Ok);
    }

    proptest! {
        #[test]
        fn any_request_is_answered(line in "(GET|PUT|HEAD) (/latest)?/[!-~]{0,30}", headers in "([A-Za-z-]{1,12}: [ -~]{0,20}\r\n){0,4}") {
            let text = format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
            if let Ok(Some(request)) = parse(text.as_bytes()) {
                let _ = service(|_| ()).answer(&request, NOW);
            }
        }
    }
}
