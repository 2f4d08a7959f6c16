//! Tokio on one thread: a task for each connection, `read_until`, and a buffered writer that is flushed when no whole
//! line is waiting.

use std::io::Result;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::{TcpListener, TcpStream};

#[inline(never)]
fn handle(line: &[u8]) -> &[u8] {
    line
}

async fn echo(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut writer = BufWriter::new(writer);
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line).await?;
        if line.pop() != Some(b'\n') {
            return Ok(());
        }
        writer.write_all(handle(&line)).await?;
        writer.write_all(b"\n").await?;
        if !reader.buffer().contains(&b'\n') {
            writer.flush().await?;
        }
    }
}

async fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("READY {}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(echo(stream));
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let port = arguments.windows(2).find(|pair| pair[0] == "--port").map_or(Ok(0), |pair| pair[1].parse());
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(serve(port.expect("--port N")))
}
