//! Over a socket, with short bounds: clients that are slow, go on for long, or meet a program that
//! is wrong; and a model that is not there yet.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::profile::DeviceProfile;
use crate::request::Slo;
use crate::service::{Asked, Call, Front, Loaded, ModelCard, Prompt, Refusal};

/// A front that panics when it is asked for this.
#[derive(Debug)]
struct Breaks(Arc<dyn Front>);

const BREAK: &str = "break";

impl Front for Breaks {
    fn card(&self) -> &ModelCard {
        self.0.card()
    }

    fn profile(&self) -> DeviceProfile {
        self.0.profile()
    }

    fn ask(&self, call: &Call, slo: Slo) -> Result<Asked, Refusal> {
        assert!(call.prompt != Prompt::Text(BREAK.to_owned()), "the program is wrong");
        self.0.ask(call, slo)
    }
}

/// A server of canned text on a socket.
struct Connected {
    address: SocketAddr,
    service: Service,
    end: EndServer,
    serving: Option<thread::JoinHandle<bool>>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.end.end();
        let ended = self.serving.take().map(thread::JoinHandle::join);
        assert!(thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

impl Connected {
    /// The server, once `loads` lets the model be there.
    fn new(limits: Limits, loads: impl FnOnce() + Send + 'static) -> Self {
        let load = move |clock| -> crate::Result<Loaded> {
            loads();
            let (front, backend) = canned(1000).load(clock)?;
            Ok((Arc::new(Breaks(front)), backend))
        };
        let service = Service::start(Options::default(), ServiceApps::default(), load).unwrap();
        let options = ServeOptions {
            address: (std::net::Ipv4Addr::LOCALHOST, 0).into(),
            access: Access::default(),
            limits,
            recorder: None,
            log: Log::to(|_| ()),
            apps: None,
        };
        let server = Server::bind(service.clone(), options).unwrap();
        let (address, end) = (server.address().unwrap(), server.handle());
        let serving = Some(thread::spawn(move || server.run().unwrap()));
        Self { address, service, end, serving }
    }

    fn ready(limits: Limits) -> Self {
        let connected = Self::new(limits, || ());
        connected.wait_until_loaded();
        connected
    }

    fn wait_until_loaded(&self) {
        for _ in 0..2000 {
            if self.service.card().is_some() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("never loaded");
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        stream
    }

    /// The answer to one request whose connection is closed after it.
    fn ask(&self, headers: &str, body: &str) -> String {
        let mut stream = self.connect();
        stream
            .write_all(request(&format!("{headers}connection: close\r\n"), body).as_bytes())
            .unwrap();
        rest(&mut stream)
    }
}

fn request(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: \
         {length}\r\n\r\n{body}"
    )
}

/// All that comes until the server closes.
fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the server closes, and in time");
    text
}

const BODY: &str = r#"{"prompt":"once","max_tokens":2}"#;

#[test]
fn a_head_that_comes_slowly_is_cut_off_and_so_is_an_idle_connection() {
    let limits = Limits { head: Duration::from_millis(200), ..Limits::default() };
    let server = Connected::ready(limits);
    let mut slow = server.connect();
    slow.write_all(b"GET /healthz HT").unwrap();
    let mut idle = server.connect();
    for stream in [&mut slow, &mut idle] {
        let answer = rest(stream);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    assert!(server.ask("", BODY).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_body_that_comes_slowly_is_a_fault_and_holds_nobody_up() {
    let limits = Limits { body: Duration::from_millis(200), ..Limits::default() };
    let server = Connected::ready(limits);
    let mut slow = server.connect();
    let whole = request("connection: close\r\n", BODY);
    slow.write_all(&whole.as_bytes()[..whole.len() - 5]).unwrap();
    assert!(server.ask("", BODY).starts_with("HTTP/1.1 200"), "while the other is waited for");
    let answer = rest(&mut slow);
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("it took too long to come"), "{answer}");
}

/// Sixty, on one connection that stays.
#[test]
fn the_fiftieth_call_in_a_row_is_answered_as_the_first() {
    let server = Connected::ready(Limits::default());
    let mut stream = server.connect();
    for nth in 0..60 {
        stream.write_all(request("", BODY).as_bytes()).unwrap();
        let (mut answer, mut byte) = (Vec::new(), [0]);
        // The body is one line of JSON, whose last brace closes its first.
        let is_whole = |answer: &[u8]| {
            let text = String::from_utf8_lossy(answer);
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
            body.is_some_and(|body| serde_json::from_str::<Value>(&body).is_ok())
        };
        while !is_whole(&answer) {
            assert_eq!(stream.read(&mut byte).unwrap(), 1, "call {nth}");
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "call {nth}");
    }
    assert_eq!(server.service.status().apps["default"].finished, 60);
}

#[test]
fn a_panic_in_a_request_is_that_requests_fault_and_no_others() {
    let server = Connected::ready(Limits::default());
    let broken = server.ask("", r#"{"prompt":"break","max_tokens":2}"#);
    assert!(broken.starts_with("HTTP/1.1 500") && broken.contains("\"failed\""), "{broken}");
    assert!(server.ask("", BODY).starts_with("HTTP/1.1 200"));
}

/// A client tries again after its answer was lost on the way: the answer is there, and no work is
/// done twice. With another body the key is refused.
#[test]
fn a_retry_with_an_idempotency_key_has_the_same_answer_and_no_more_work() {
    let server = Connected::ready(Limits::default());
    let key = "idempotency-key: k-1\r\n";
    let body = |answer: &str| {
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str::<Value>(body).unwrap()
    };
    let [first, again] = [(); 2].map(|()| body(&server.ask(key, BODY)));
    assert_eq!((&first["choices"], &first["pliant"]), (&again["choices"], &again["pliant"]));
    let status = server.service.status();
    let counted = &status.apps["default"];
    assert_eq!((counted.calls, counted.finished, counted.output_tokens), (1, 1, 2));
    let other = server.ask(key, r#"{"prompt":"twice","max_tokens":2}"#);
    assert!(other.starts_with("HTTP/1.1 400") && other.contains("idempotency_key_in_use"));
}

/// However many call meanwhile: each is told to come again, and none waits.
#[test]
fn a_call_while_the_model_loads_is_503_with_a_time_to_come_again() {
    let (go, wait) = mpsc::channel::<()>();
    let server = Connected::new(Limits::default(), move || wait.recv().unwrap());
    for _ in 0..100 {
        let answer = server.ask("", BODY).to_lowercase();
        assert!(answer.starts_with("http/1.1 503"), "{answer}");
        assert!(
            answer.contains("retry-after: 1\r\n") && answer.contains("\"loading\""),
            "{answer}"
        );
    }
    assert!(server.service.status().queue.is_empty());
    go.send(()).unwrap();
    server.wait_until_loaded();
    assert!(server.ask("", BODY).starts_with("HTTP/1.1 200"));
}
