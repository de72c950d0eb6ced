//! A proxy in front of a Redis that puts other replies in the place of those to some commands.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// The commands that the service asks for sessions with.
const COMMANDS: [&str; 4] = ["EVALSHA", "EVAL", "HMGET", "ZCOUNT"];

/// Listens until the test ends.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    reply: Arc<Mutex<Option<String>>>,
}

impl Proxy {
    /// A proxy to a port of this machine, which passes everything on at first.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let reply = Arc::new(Mutex::new(None));
        let state = reply.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let state = state.clone();
                // A connection that ends with an error has ended.
                tokio::spawn(async move { connection(near, port, state).await });
            }
        });
        Self { address, reply }
    }

    /// What commands on sessions are replied from now on, whatever Redis has replied.
    pub(crate) fn reply(&self, reply: Option<&str>) {
        *self.reply.lock().expect("nobody panics with it") = reply.map(str::to_owned);
    }
}

async fn connection(near: TcpStream, port: u16, state: Arc<Mutex<Option<String>>>) -> std::io::Result<()> {
    let (from_near, mut to_near) = near.into_split();
    let (from_far, mut to_far) = TcpStream::connect(("127.0.0.1", port)).await?.into_split();
    let (mut from_near, mut from_far) = (BufReader::new(from_near), BufReader::new(from_far));
    loop {
        let command = frame(&mut from_near).await?;
        let text = String::from_utf8_lossy(&command);
        let name = text.split("\r\n").nth(2).unwrap_or_default().to_uppercase();
        to_far.write_all(&command).await?;
        let mut reply = frame(&mut from_far).await?;
        if let Some(other) = &*state.lock().expect("nobody panics with it")
            && COMMANDS.contains(&&*name)
        {
            reply = other.as_bytes().to_vec();
        }
        to_near.write_all(&reply).await?;
    }
}

/// A command or a reply, whole.
async fn frame(from: &mut BufReader<impl AsyncReadExt + Unpin>) -> std::io::Result<Vec<u8>> {
    let (mut bytes, mut missing) = (Vec::new(), 1);
    while missing > 0 {
        let begin = bytes.len();
        if from.read_until(b'\n', &mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        missing -= 1;
        let line = String::from_utf8_lossy(&bytes[begin..]).trim_end().to_owned();
        let (kind, number) = line.split_at(1);
        match (kind, number.parse::<usize>()) {
            ("*", Ok(parts)) => missing += parts,
            ("$", Ok(length)) => {
                let begin = bytes.len();
                bytes.resize(begin + length + 2, 0);
                from.read_exact(&mut bytes[begin..]).await?;
            }
            _ => {}
        }
    }
    Ok(bytes)
}
