//! A backend and a client that speak HTTP/2 without TLS.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, client};
use http::request::Parts;
use http::{HeaderMap, Request, Response, response};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::LIMIT;

/// What a backend does with a request.
type Script = Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// One request, and the way to answer it.
pub struct Call {
    pub head: Parts,
    pub body: RecvStream,
    pub answer: SendResponse<Bytes>,
    /// The number of its connection, from 0.
    pub connection: usize,
}

impl Call {
    /// Its whole body, and what follows it.
    pub async fn read(&mut self) -> (Vec<u8>, HeaderMap) {
        read(&mut self.body).await.unwrap_or_default()
    }

    /// Answer 200 with this text, and this behind it.
    pub fn say(&mut self, text: &str, trailers: &[(&'static str, &str)]) {
        let Ok(mut send) = self.answer.send_response(Response::new(()), false) else { return };
        let _ = send.send_data(Bytes::copy_from_slice(text.as_bytes()), trailers.is_empty());
        if !trailers.is_empty() {
            let _ = send.send_trailers(headers(trailers));
        }
    }
}

/// A backend on a loopback port.
pub struct Http2Origin {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Parts>>>,
    _runtime: Runtime,
}

impl Http2Origin {
    pub fn new<F>(script: impl Fn(Call) -> F + Send + Sync + 'static) -> Http2Origin
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let script: Script = Arc::new(move |call| Box::pin(script(call)));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (count, log) = (Arc::clone(&connections), Arc::clone(&seen));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, count.fetch_add(1, SeqCst), Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Http2Origin { address, connections, seen, _runtime: runtime }
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// The heads of the requests so far.
    pub fn seen(&self) -> Vec<Parts> {
        self.seen.lock().unwrap().clone()
    }

    #[track_caller]
    pub fn last(&self) -> Parts {
        self.seen().pop().unwrap()
    }
}

async fn serve(stream: TcpStream, connection: usize, script: Script, log: Arc<Mutex<Vec<Parts>>>) {
    let Ok(mut http2) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, answer))) = http2.accept().await {
        let (head, body) = request.into_parts();
        log.lock().unwrap().push(head.clone());
        tokio::spawn(script(Call { head, body, answer, connection }));
    }
}

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

async fn read(body: &mut RecvStream) -> Result<(Vec<u8>, HeaderMap), h2::Error> {
    let mut whole = Vec::new();
    while let Some(chunk) = body.data().await.transpose()? {
        let _ = body.flow_control().release_capacity(chunk.len());
        whole.extend_from_slice(&chunk);
    }
    Ok((whole, body.trailers().await?.unwrap_or_default()))
}

/// An answer and all that belongs to it.
#[derive(Debug)]
pub struct Answer {
    pub head: response::Parts,
    pub body: String,
    pub trailers: HeaderMap,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn trailer(&self, name: &str) -> &str {
        self.trailers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A client's connection.
pub struct Http2Client {
    requests: client::SendRequest<Bytes>,
    address: SocketAddr,
    runtime: Runtime,
}

impl Http2Client {
    pub fn connect(address: SocketAddr) -> Http2Client {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let requests = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            let (requests, connection) = client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            requests
        });
        Http2Client { requests, address, runtime }
    }

    /// A request to this path with these headers.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let uri = format!("http://{}{path}", self.address);
        let request = Request::builder().method(method).uri(uri);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).unwrap()
    }

    /// Send these at the same time, each with this body, and wait for all of their answers.
    pub fn all(&self, requests: Vec<Request<()>>, body: &str) -> Vec<Result<Answer, h2::Error>> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let running: Vec<_> =
            requests.into_iter().map(|one| self.runtime.spawn(ask(self.requests.clone(), one, body.clone()))).collect();
        let wait = async { futures_util::future::join_all(running).await.into_iter().map(Result::unwrap).collect() };
        self.runtime.block_on(async { timeout(LIMIT, wait).await.unwrap() })
    }

    /// Send one and wait for its answer.
    #[track_caller]
    pub fn ask(&self, request: Request<()>, body: &str) -> Answer {
        self.all(vec![request], body).pop().unwrap().unwrap()
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.ask(self.request("GET", path, &[]), "")
    }
}

async fn ask(requests: client::SendRequest<Bytes>, request: Request<()>, body: Bytes) -> Result<Answer, h2::Error> {
    let (response, mut send) = requests.ready().await?.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        send.send_data(body, true)?;
    }
    let (head, mut body) = response.await?.into_parts();
    let (body, trailers) = read(&mut body).await?;
    Ok(Answer { head, body: String::from_utf8(body).unwrap(), trailers })
}
