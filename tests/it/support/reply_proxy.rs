//! A proxy in front of Redis that replaces the replies to session commands.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// The commands by which the service reads and changes sessions.
const COMMANDS: [&str; 4] = ["EVALSHA", "EVAL", "HMGET", "ZCOUNT"];

/// Listens until the test ends.
pub(crate) struct ReplyProxy {
    pub(crate) address: SocketAddr,
    reply: Arc<Mutex<Option<String>>>,
}

impl ReplyProxy {
    /// A proxy to a port on the loopback interface. At first it forwards everything unchanged.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let reply = Arc::new(Mutex::new(None));
        let state = reply.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = state.clone();
                // An I/O error ends the connection and nothing else.
                tokio::spawn(async move { connection(client, port, state).await });
            }
        });
        Self { address, reply }
    }

    /// Replaces the replies to session commands from now on; `None` ends that.
    pub(crate) fn replace_replies(&self, reply: Option<&str>) {
        *self.reply.lock().expect("the lock is not poisoned") = reply.map(str::to_owned);
    }
}

async fn connection(client: TcpStream, port: u16, state: Arc<Mutex<Option<String>>>) -> std::io::Result<()> {
    let (from_client, mut to_client) = client.into_split();
    let (from_server, mut to_server) = TcpStream::connect(("127.0.0.1", port)).await?.into_split();
    let (mut from_client, mut from_server) = (BufReader::new(from_client), BufReader::new(from_server));
    loop {
        let command = frame(&mut from_client).await?;
        let text = String::from_utf8_lossy(&command);
        let name = text.split("\r\n").nth(2).unwrap_or_default().to_uppercase();
        to_server.write_all(&command).await?;
        let mut reply = frame(&mut from_server).await?;
        if let Some(replacement) = &*state.lock().expect("the lock is not poisoned")
            && COMMANDS.contains(&&*name)
        {
            reply = replacement.as_bytes().to_vec();
        }
        to_client.write_all(&reply).await?;
    }
}

/// Reads one complete RESP frame, a command or a reply, with its nested elements.
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
            ("*", Ok(elements)) => missing += elements,
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
