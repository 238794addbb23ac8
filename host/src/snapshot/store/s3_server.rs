//! A real S3 server for tests, on loopback, on a thread of its own.

use std::path::Path;
use std::thread;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rusty_s3::Credentials;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;

use super::Settings;

/// A server with an empty bucket named `bucket`; it ends with this value.
pub(crate) struct Server {
    root: tempfile::TempDir,
    endpoint: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("bucket")).unwrap();
        let mut service = S3ServiceBuilder::new(FileSystem::new(root.path()).unwrap());
        service.set_auth(SimpleAuth::from_single("access", "secret"));
        let service = service.build();
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, service) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            root,
            endpoint,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// How it is reached.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            endpoint: Some(self.endpoint.clone()),
            region: "us-east-1".into(),
            credentials: Some(Credentials::new("access", "secret")),
            patience: Duration::from_secs(60),
        }
    }

    /// The directory that its buckets are in.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both are there until now; a server that fell over tells by itself.
        self.stop.take().map(|stop| stop.send(()));
        self.thread.take().map(thread::JoinHandle::join);
    }
}

async fn serve(listener: TcpListener, service: S3Service) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let service = service.clone();
        tokio::spawn(async move {
            let connections = Builder::new(TokioExecutor::new());
            let connection = connections.serve_connection(TokioIo::new(socket), service);
            // A client that goes away is no concern of the server.
            let _ = connection.await;
        });
    }
}
