//! The simulated application: makers, services, handlers and bodies, all of them counted, so that
//! nothing can stay alive unnoticed.

use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll};

use http::{Response, request};
use http_body_util::BodyExt;

use super::body::SimBody;
use super::plan::{Answer, Fault, Pause, Plan, Read};
use super::polls;
use super::rng::{Rng, pattern};
use super::spawn::{SimSpawn, Sleep};
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::service::{ConnInfo, HttpService, Made, MakeHttpService};

/// A panic that no hook reports.
pub(super) fn quiet_panic() -> ! {
    resume_unwind(Box::new("a simulated panic"))
}

/// Counts itself, clones included, in one of the tally's places.
pub(super) struct Counted(Arc<Tally>, Place);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Service,
    Handler,
    ResponseBody,
    Maker,
}

/// What is alive of the application.
#[derive(Default)]
pub(super) struct Tally {
    alive: [AtomicI64; 4],
    ever: [AtomicI64; 4],
}

impl Tally {
    pub(super) fn alive(&self, place: Place) -> i64 {
        self.alive[place as usize].load(Ordering::Relaxed)
    }

    pub(super) fn ever(&self, place: Place) -> i64 {
        self.ever[place as usize].load(Ordering::Relaxed)
    }
}

impl Counted {
    pub(super) fn new(tally: &Arc<Tally>, place: Place) -> Self {
        tally.alive[place as usize].fetch_add(1, Ordering::Relaxed);
        tally.ever[place as usize].fetch_add(1, Ordering::Relaxed);
        Counted(tally.clone(), place)
    }

    /// Counts something else in the same tally.
    pub(super) fn another(&self, place: Place) -> Self {
        Counted::new(&self.0, place)
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Counted::new(&self.0, self.1)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.alive[self.1 as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a connection gets its service: a pure function of the peer's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Making {
    Ready,
    Later(u64),
    /// Makes nothing: fails or panics, at once or later. The connection ends without an answer.
    Panics,
    LaterFails(u64),
    LaterPanics(u64),
}

impl Making {
    pub(super) fn of(world_seed: u64, peer: u64, gentle: bool) -> Making {
        let mut rng = Rng::new(world_seed ^ peer.wrapping_mul(0x1234_5678_9abc_def1));
        let wait_ns = rng.range(1, 20_000_000);
        match rng.below(if gentle { 12 } else { 24 }) {
            0 | 1 => Making::Later(wait_ns),
            12 => Making::Panics,
            13 => Making::LaterFails(wait_ns),
            14 => Making::LaterPanics(wait_ns),
            _ => Making::Ready,
        }
    }
}

#[derive(Clone)]
pub(super) struct SimMake {
    pub(super) world_seed: u64,
    pub(super) spawn: SimSpawn,
    pub(super) tally: Arc<Tally>,
    counted: Counted,
}

impl SimMake {
    pub(super) fn new(world_seed: u64, spawn: SimSpawn, tally: Arc<Tally>) -> Self {
        let counted = Counted::new(&tally, Place::Maker);
        SimMake {
            world_seed,
            spawn,
            tally,
            counted,
        }
    }

    fn service(&self, peer: u64) -> SimService {
        SimService {
            spawn: self.spawn.clone(),
            calls: Arc::new(AtomicU64::new(peer << 32)),
            sleep: None,
            ready: false,
            arrivals: 0,
            counted: Counted::new(&self.tally, Place::Service),
        }
    }
}

impl MakeHttpService for SimMake {
    type Service = SimService;
    const WANTS_PEER_ADDR: bool = true;

    fn make(&mut self, conn: ConnInfo) -> Made<SimService> {
        let _alive = self.counted.clone();
        // The peer's number and temper are its port and address: see `SimRing::peer_addr`.
        let peer = u64::from(conn.peer_addr.port());
        let gentle = conn.peer_addr.ip().is_loopback();
        let service = self.service(peer);
        let (wait_ns, made) = match Making::of(self.world_seed, peer, gentle) {
            Making::Ready => return Made::Ready(service),
            Making::Panics => quiet_panic(),
            Making::Later(wait_ns) => (wait_ns, Some(Ok(service))),
            Making::LaterFails(wait_ns) => (wait_ns, Some(Err("no service today".into()))),
            Making::LaterPanics(wait_ns) => (wait_ns, None),
        };
        let sleep = self.spawn.sleep(wait_ns);
        Made::Later(Box::pin(async move {
            sleep.await;
            made.unwrap_or_else(|| quiet_panic())
        }))
    }
}

/// The service of one connection. One clone in four has to wait until it is ready, unless polls take time.
pub(super) struct SimService {
    spawn: SimSpawn,
    calls: Arc<AtomicU64>,
    sleep: Option<Pin<Box<Sleep>>>,
    ready: bool,
    /// When it was cloned for its call: see [`SimSpawn::arrivals`].
    arrivals: u64,
    counted: Counted,
}

impl Clone for SimService {
    fn clone(&self) -> Self {
        SimService {
            spawn: self.spawn.clone(),
            calls: self.calls.clone(),
            sleep: None,
            ready: false,
            arrivals: self.spawn.arrivals(),
            counted: self.counted.clone(),
        }
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<SimBody>, BoxError>> + Send>>;

impl HttpService for SimService {
    type Head = request::Parts;
    type Response = Response<SimBody>;
    type Error = BoxError;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // A poll that takes time is one whose class is known.
        self.ready |= self.spawn.keeps_time();
        if self.ready {
            return Poll::Ready(Ok(()));
        }
        let sleep = self.sleep.get_or_insert_with(|| {
            let call = self.calls.fetch_add(1, Ordering::Relaxed);
            let mut rng = Rng::new(call);
            let wait_ns = if rng.one_in(4) {
                rng.range(1, 3_000_000)
            } else {
                0
            };
            Box::pin(self.spawn.sleep(wait_ns))
        });
        let polled = sleep.as_mut().poll(cx);
        self.ready = polled.is_ready();
        polled.map(Ok)
    }

    fn call(&mut self, head: request::Parts, body: RequestBody) -> Answering {
        assert!(
            std::mem::take(&mut self.ready),
            "a service is called once it is ready"
        );
        let path = head.uri.path();
        let class = polls::class_of(head.method.as_str(), path);
        self.spawn.take_time(&class, self.arrivals);
        let plan = Plan::of_path(path);
        if plan
            .as_ref()
            .is_some_and(|plan| plan.fault == Fault::PanicInCall)
        {
            quiet_panic();
        }
        let counted = self.counted.another(Place::Handler);
        let spawn = self.spawn.clone();
        Box::pin(async move {
            let plan = plan.ok_or("a path of no plan")?;
            answer(plan, body, spawn, counted).await
        })
    }
}

async fn pause(spawn: &SimSpawn, pause: Pause) {
    match pause {
        Pause::Sleep(ns) => spawn.sleep(ns).await,
        Pause::Yield => {
            let mut yielded = false;
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                match std::mem::replace(&mut yielded, true) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
            .await;
        }
    }
}

/// The handler.
async fn answer(
    plan: Plan,
    body: RequestBody,
    spawn: SimSpawn,
    counted: Counted,
) -> Result<Response<SimBody>, BoxError> {
    let mut rng = Rng::new(plan.seed ^ 1);
    let mut body = Some(body);
    if plan.read == Read::Never {
        body = None;
    }
    for wait in &plan.pauses {
        pause(&spawn, *wait).await;
        spawn.take_more_time();
    }
    match plan.fault {
        Fault::Error => return Err("a simulated error".into()),
        Fault::PanicInPoll => quiet_panic(),
        Fault::Never => std::future::pending::<()>().await,
        _ => {}
    }
    let mut echo = None;
    let mut collected = Vec::new();
    match (plan.read, plan.answer) {
        (Read::All, Answer::EchoStream) => echo = body.take(),
        (Read::Some(_) | Read::All, _) => {
            let frames_max = match plan.read {
                Read::Some(frames) => frames,
                _ => u64::MAX,
            };
            read(body.take(), frames_max, &mut rng, &spawn, &mut collected).await?;
        }
        _ => {}
    }
    let bytes = match plan.answer {
        Answer::Whole(len) | Answer::Pieces { len, .. } => pattern(plan.seed, len),
        Answer::Echo | Answer::EchoStream => collected,
    };
    drop(body);
    let response_body = SimBody::new(&plan, bytes, echo, spawn, &counted);
    let response = Response::builder()
        .status(plan.status)
        .header("x-seed", format!("{:x}", plan.seed));
    Ok(response.body(response_body)?)
}

/// Reads frames of a body into `collected`, slowly.
async fn read(
    body: Option<RequestBody>,
    frames_max: u64,
    rng: &mut Rng,
    spawn: &SimSpawn,
    collected: &mut Vec<u8>,
) -> Result<(), BoxError> {
    let Some(mut body) = body else { return Ok(()) };
    let slow_one_in = rng.pick(&[1000, 10, 3]);
    for _ in 0..frames_max {
        let Some(frame) = body.frame().await else {
            break;
        };
        if let Ok(data) = frame?.into_data() {
            collected.extend_from_slice(&data);
        }
        if rng.one_in(slow_one_in) {
            let ns = rng.range(1, 2_000_000);
            spawn.sleep(ns).await;
        }
    }
    Ok(())
}
