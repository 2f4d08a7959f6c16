//! One end of TLS by rustls: `peer client VERSION ADDRESS NAME CA [CERT]`, `peer server VERSION ADDRESS CA CERT CRL`.
//! A client says hello and prints what comes; a server asks for a certificate and sends one line back. This version of
//! rustls has no revocation: the server reads no list.

use std::fs;
use std::io::{stdout, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rustls::server::AllowAnyAuthenticatedClient;
use rustls::version::{TLS12, TLS13};
use rustls::{
    Certificate, ClientConfig, ClientConnection, PrivateKey, RootCertStore, ServerConfig, ServerConnection, Stream,
    SupportedProtocolVersion,
};
use rustls_pemfile::Item;

type Failure = Box<dyn std::error::Error>;

static ONLY_12: &[&SupportedProtocolVersion] = &[&TLS12];
static ONLY_13: &[&SupportedProtocolVersion] = &[&TLS13];

fn versions(word: &str) -> &'static [&'static SupportedProtocolVersion] {
    if word == "1.2" { ONLY_12 } else { ONLY_13 }
}

fn certificates(path: &str) -> Result<Vec<Certificate>, Failure> {
    let pem = fs::read(path)?;
    Ok(rustls_pemfile::certs(&mut &pem[..])?.into_iter().map(Certificate).collect())
}

fn key(path: &str) -> Result<PrivateKey, Failure> {
    let pem = fs::read(path)?;
    for item in rustls_pemfile::read_all(&mut &pem[..])? {
        if let Item::ECKey(der) | Item::PKCS8Key(der) | Item::RSAKey(der) = item {
            return Ok(PrivateKey(der));
        }
    }
    Err("no key".into())
}

fn roots(path: &str) -> Result<RootCertStore, Failure> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(&certificate)?;
    }
    Ok(store)
}

fn client(words: &[String]) -> Result<(), Failure> {
    let builder = ClientConfig::builder()
        .with_safe_default_cipher_suites()
        .with_safe_default_kx_groups()
        .with_protocol_versions(versions(&words[0]))?
        .with_root_certificates(roots(&words[3])?);
    let config = match words.get(4) {
        Some(path) => builder.with_single_cert(certificates(path)?, key(path)?)?,
        None => builder.with_no_client_auth(),
    };
    let mut session = ClientConnection::new(Arc::new(config), words[2].as_str().try_into()?)?;
    let mut socket = TcpStream::connect(&words[1])?;
    let mut stream = Stream::new(&mut session, &mut socket);
    stream.write_all(b"hello\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    stdout().write_all(&answer)?;
    Ok(())
}

fn serve(config: Arc<ServerConfig>, socket: &mut TcpStream) -> Result<(), Failure> {
    let mut session = ServerConnection::new(config)?;
    let mut stream = BufReader::new(Stream::new(&mut session, socket));
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let stream = stream.get_mut();
    stream.write_all(line.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(())
}

fn server(words: &[String]) -> Result<(), Failure> {
    let config = ServerConfig::builder()
        .with_safe_default_cipher_suites()
        .with_safe_default_kx_groups()
        .with_protocol_versions(versions(&words[0]))?
        .with_client_cert_verifier(AllowAnyAuthenticatedClient::new(roots(&words[2])?))
        .with_single_cert(certificates(&words[3])?, key(&words[3])?)?;
    let config = Arc::new(config);
    let listener = TcpListener::bind(&words[1])?;
    println!("{}", listener.local_addr()?);
    for socket in listener.incoming() {
        if let Err(error) = serve(config.clone(), &mut socket?) {
            eprintln!("{error}");
        }
    }
    Ok(())
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = if words[0] == "client" { client(&words[1..]) } else { server(&words[1..]) };
    if let Err(error) = done {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
