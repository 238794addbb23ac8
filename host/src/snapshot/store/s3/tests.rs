use super::*;
use crate::snapshot::digest::Digest;
use crate::snapshot::store::contract;
use crate::snapshot::store::s3_server::Server;
use std::net::TcpListener;

fn store(server: &Server) -> S3 {
    S3::new("bucket", "a/prefix", server.settings()).unwrap()
}

#[test]
fn a_bucket_keeps_objects() {
    contract::keeps_objects(&store(&Server::start()));
}

#[test]
fn a_bucket_can_be_emptied_while_it_is_listed() {
    let server = Server::start();
    let mut store = store(&server);
    store.page = 10;
    contract::can_be_emptied_while_it_is_listed(&store);
}

#[test]
fn names_begin_with_the_prefix() {
    let server = Server::start();
    let name = Name::Chunk(Digest::of(b"abc"));
    store(&server).put(&name, Object::Bytes(b"abc")).unwrap();
    let file = server.root().join(format!("bucket/a/prefix/{name}"));
    assert_eq!(std::fs::read(file).unwrap(), b"abc");
    let other = S3::new("bucket", "", server.settings()).unwrap();
    assert!(!other.exists(&name).unwrap());
}

fn refused(store: &S3) -> String {
    let name = Name::Chunk(Digest::of(b"abc"));
    Error::from(store.put(&name, Object::Bytes(b"abc")).unwrap_err()).report()
}

#[test]
fn a_wrong_key_is_refused_by_the_server_and_told() {
    let server = Server::start();
    let wrong = Settings {
        credentials: Some(Credentials::new("access", "wrong")),
        ..server.settings()
    };
    let report = refused(&S3::new("bucket", "", wrong).unwrap());
    assert!(
        report.contains("403 Forbidden: SignatureDoesNotMatch"),
        "{report}"
    );
    assert!(report.contains("try: credentials"), "{report}");
}

#[test]
fn a_bucket_that_is_not_there_is_told() {
    let server = Server::start();
    let store = S3::new("missing", "", server.settings()).unwrap();
    let error = store.list(Kind::Record, &mut |_, _| Ok(())).unwrap_err();
    let report = Error::from(error).report();
    assert!(report.contains("cannot list records"), "{report}");
    assert!(report.contains("NoSuchBucket"), "{report}");
}

fn anonymous(endpoint: &str) -> Settings {
    Settings {
        endpoint: Some(endpoint.into()),
        region: "us-east-1".into(),
        credentials: None,
        patience: Duration::from_millis(50),
    }
}

#[test]
fn a_server_that_never_answers_is_told_when_patience_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let report = refused(&S3::new("bucket", "", anonymous(&endpoint)).unwrap());
    assert!(report.contains("timeout"), "{report}");
    assert!(report.contains("try: the same once it answers"), "{report}");
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let report = refused(&S3::new("bucket", "", anonymous(&endpoint)).unwrap());
    assert!(
        report.contains(&format!("s3://bucket/ at {endpoint}")),
        "{report}"
    );
    assert!(report.contains("Connection refused"), "{report}");
    assert!(report.contains("try: the same once it answers"), "{report}");
}

#[test]
fn an_endpoint_that_is_no_url_is_told() {
    for endpoint in ["nonsense", "ftp://host", "http://"] {
        let opened = S3::new("bucket", "", anonymous(endpoint));
        let report = opened.err().unwrap().report();
        assert!(
            report.contains(&format!("AWS_ENDPOINT_URL is '{endpoint}'")),
            "{report}"
        );
    }
}

#[test]
fn the_usual_variables_are_heeded() {
    let variable = |name: &str| match name {
        "AWS_ENDPOINT_URL" => Some("http://127.0.0.1:9000".into()),
        "AWS_DEFAULT_REGION" => Some("eu-central-1".into()),
        "AWS_ACCESS_KEY_ID" => Some("access".into()),
        "AWS_SECRET_ACCESS_KEY" => Some("secret".into()),
        _ => Some(" ".into()),
    };
    let settings = Settings::from_environment(variable);
    assert_eq!(settings.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
    assert_eq!(settings.region, "eu-central-1");
    let credentials = settings.credentials.unwrap();
    assert_eq!((credentials.key(), credentials.token()), ("access", None));
    let none = Settings::from_environment(|_| None);
    assert!(none.endpoint.is_none() && none.credentials.is_none());
    assert_eq!(none.region, "us-east-1");
}
