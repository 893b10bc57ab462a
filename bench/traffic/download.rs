//! Downloads that take minutes, one after the other, with every byte checked.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep, timeout};

use crate::request::connect;
use crate::{Shared, kind, pattern};

/// After a failure, so that a balancer that is gone is not asked without end.
const PAUSE: Duration = Duration::from_secs(1);

/// One download after the other until it is time to stop; the one that is under way then is nobody's fault.
pub(crate) async fn go_on(shared: Shared, number: usize) {
    let mut random = fastrand::Rng::with_seed(shared.options.seed.wrapping_add(number as u64));
    // The first ones end at different times, and so do all that follow.
    let mut share = random.f64().max(0.05);
    loop {
        let opened = Instant::now();
        tokio::select! {
            ended = download(&shared, share) => match ended {
                Ok(()) => shared.ledger.count("downloads", 1),
                Err(kind) => {
                    shared.ledger.cut("download", &kind, opened);
                    sleep(PAUSE).await;
                }
            },
            () = shared.stopped() => {
                shared.ledger.count("downloads under way at the end", 1);
                return;
            }
        }
        share = 1.0;
    }
}

async fn download(shared: &Shared, share: f64) -> Result<(), String> {
    let (options, ledger) = (&shared.options, &shared.ledger);
    let rate = options.download_rate;
    let length = (options.download_time.as_secs_f64() * share * rate as f64) as u64;
    let stream = connect(options.http, Instant::now() + options.timeout).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| kind::of_request(&error))?;
    tokio::spawn(connection);
    let request = Request::get(format!("/download?bytes={length}&rate={rate}")).header(HOST, "endurance.test");
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let response = timeout(options.timeout, sender.send_request(request)).await.map_err(|_| "timeout")?;
    let response = response.map_err(|error| kind::of_request(&error))?;
    if response.status() != 200 {
        return Err(format!("status {}", response.status().as_u16()));
    }
    let mut body = response.into_body();
    let mut got = 0;
    while let Some(frame) = timeout(options.timeout, body.frame()).await.map_err(|_| "silent")? {
        let frame = frame.map_err(|error| kind::of_body(&error))?;
        let Some(data) = frame.data_ref() else { continue };
        if !pattern::matches(got, data) {
            return Err("wrong bytes".to_owned());
        }
        got += data.len() as u64;
        ledger.count("downloaded bytes", data.len() as u64);
    }
    if got == length { Ok(()) } else { Err("wrong length".to_owned()) }
}
