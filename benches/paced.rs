//! A load generator with a fixed rate, for latencies below full load. wrk always sends as fast as it receives answers.
//!
//!     paced PORT PATHS CONNECTIONS RATE SECONDS
//!
//! Sends GETs for the paths in the file PATHS in turn, RATE requests per second over all connections. Latencies count
//! from the time at which a request was due, so a stalled service does not receive fewer requests (no coordinated
//! omission). Prints one JSON object. One thread on epoll, to leave the processors to the service.

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The run fails if a request is still unanswered this long after its end.
const PATIENCE: Duration = Duration::from_secs(5);

struct Connection {
    stream: TcpStream,
    /// The due time of the request in flight, or of the next one.
    due: Duration,
    /// Whether a request is in flight.
    busy: bool,
    received: Vec<u8>,
}

impl Connection {
    fn open(port: u16, due: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            due,
            busy: false,
            received: Vec::new(),
        })
    }

    /// Sends a request, which is small enough to fit the socket buffer.
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.busy = true;
        self.stream.write_all(request)
    }

    /// Reads available bytes; returns whether the answer is complete.
    fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => self.received.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        let text = str::from_utf8(&self.received).map_err(io::Error::other)?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            return Ok(false);
        };
        if !head.starts_with("HTTP/1.1 200 ") || body == "{}" {
            return Err(io::Error::other(format!("not a session: {text}")));
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse().ok())?
        });
        let length: usize = length.ok_or_else(|| io::Error::other("an answer without a length"))?;
        let complete = body.len() >= length;
        if complete {
            self.received.clear();
            self.busy = false;
        }
        Ok(complete)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo appends `--bench` to the arguments.
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let [port, paths, connections, rate, seconds] = arguments.as_slice() else {
        return Err("usage: paced PORT PATHS CONNECTIONS RATE SECONDS".into());
    };
    let (connections, rate): (u32, f64) = (connections.parse()?, rate.parse()?);
    let end = Duration::from_secs(seconds.parse()?);
    let pause = Duration::from_secs_f64(f64::from(connections) / rate);
    let requests: Vec<_> = std::fs::read_to_string(paths)?
        .lines()
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").into_bytes())
        .collect();
    let mut requests = requests.iter().cycle();

    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut pool = Vec::new();
    for n in 0..connections {
        // The connections' first requests are spread evenly over the pause.
        let connection = Connection::open(port.parse()?, pause * n / connections)?;
        epoll::add(
            &epoll,
            &connection.stream,
            epoll::EventData::new_u64(n.into()),
            epoll::EventFlags::IN,
        )?;
        pool.push(connection);
    }

    let start = Instant::now();
    let mut latencies = Vec::new();
    let mut events = Vec::with_capacity(pool.len());
    loop {
        let now = start.elapsed();
        for connection in pool.iter_mut().filter(|c| !c.busy && c.due <= now && c.due < end) {
            connection.send(requests.next().ok_or("no paths")?)?;
        }
        let next = pool.iter().filter(|c| !c.busy && c.due < end).map(|c| c.due).min();
        if next.is_none() && pool.iter().all(|c| !c.busy) {
            break;
        }
        let wait = next.unwrap_or(end + PATIENCE).saturating_sub(start.elapsed());
        if next.is_none() && wait.is_zero() {
            return Err("not every request was answered".into());
        }
        epoll::wait(&epoll, spare_capacity(&mut events), Some(&Timespec::try_from(wait)?))?;
        for event in events.drain(..) {
            let connection = &mut pool[usize::try_from(event.data.u64())?];
            if connection.receive()? {
                latencies.push(start.elapsed().saturating_sub(connection.due));
                connection.due += pause;
            }
        }
    }

    latencies.sort_unstable();
    let percentile = |p: usize| latencies[(latencies.len() - 1) * p / 100].as_secs_f64() * 1e3;
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let reached = latencies.len() as f64 / start.elapsed().as_secs_f64();
    println!(
        r#"{{"rate":{reached:.1},"p50":{:.4},"p99":{:.4},"count":{}}}"#,
        percentile(50),
        percentile(99),
        latencies.len()
    );
    Ok(())
}
