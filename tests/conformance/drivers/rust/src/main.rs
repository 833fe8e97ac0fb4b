//! Calls the Rust SDK as tests/conformance/suite/driver.py has it told: lines of JSON in, lines of JSON out.

mod operations;
mod request;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use noisegate::{Client, Code, Error, Opened, Receiver, Sealed, Session};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};

use request::{Request, code_name, hexed, hexes};

/// Keeps what the SDK gave it, by the requests' names.
#[derive(Default)]
pub struct Driver {
    clients: Mutex<HashMap<String, Client>>,
    sessions: Mutex<HashMap<String, Session>>,
    receivers: Mutex<HashMap<String, Arc<Receiver<String>>>>,
    running: Mutex<HashMap<u64, oneshot::Sender<()>>>,
    /// What the hook was given, by the session's id.
    sent: Arc<Mutex<HashMap<Vec<u8>, Vec<Vec<u8>>>>>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let driver = Arc::new(Driver::default());
    let (answers, mut written) = mpsc::unbounded_channel::<Value>();
    let writing = tokio::spawn(async move {
        let mut out = tokio::io::stdout();
        while let Some(answer) = written.recv().await {
            out.write_all(format!("{answer}\n").as_bytes()).await?;
            out.flush().await?;
        }
        std::io::Result::Ok(())
    });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        driver.begin(Request(serde_json::from_str(&line)?), answers.clone());
    }
    drop(answers);
    for client in driver.clients.lock().unwrap().values() {
        client.close();
    }
    Ok(writing.await??)
}

impl Driver {
    /// Runs a request by itself, or cancels one: its future is dropped.
    fn begin(self: &Arc<Self>, request: Request, answers: mpsc::UnboundedSender<Value>) {
        if request.text("op") == "cancel" {
            self.running.lock().unwrap().remove(&request.number("target"));
            return;
        }
        let (running, cancelled) = oneshot::channel();
        let id = request.number("id");
        self.running.lock().unwrap().insert(id, running);
        let driver = self.clone();
        tokio::spawn(async move {
            let answer = tokio::select! {
                answer = driver.result(&request) => answer,
                _ = cancelled => Err(json!({"code": "CANCELLED", "reason": "", "resume_needed": false, "metadata": {}})),
            };
            driver.running.lock().unwrap().remove(&id);
            // Nobody reads it where the input has ended.
            let _ = answers.send(match answer {
                Ok(answer) => json!({"id": id, "ok": answer}),
                Err(error) => json!({"id": id, "error": error}),
            });
        });
    }

    async fn result(&self, request: &Request) -> Result<Value, Value> {
        match operations::run(self, request).await {
            Some(answer) => answer.map_err(|error| refusal(&error)),
            None => Err(json!({"code": "UNKNOWN_OP"})),
        }
    }

    fn client(&self, request: &Request) -> Client {
        self.clients.lock().unwrap()[request.text("client")].clone()
    }

    fn session(&self, name: &str) -> Session {
        self.sessions.lock().unwrap()[name].clone()
    }

    /// Gives a session its name.
    fn keep(&self, request: &Request, session: Session) -> Value {
        self.sessions.lock().unwrap().insert(request.text("session").to_owned(), session.clone());
        begun(&session)
    }
}

/// An error as the suite knows it.
fn refusal(error: &Error) -> Value {
    let shown = |code: &str, reason: &str, metadata: Value| {
        let resume_needed = matches!(error, Error::ResumeNeeded(_));
        json!({"code": code, "reason": reason, "resume_needed": resume_needed, "metadata": metadata})
    };
    match error {
        Error::ResumeNeeded(refusal) | Error::Refused(refusal) => {
            let reason = refusal.reason.as_ref().map_or("", |reason| reason.as_str());
            shown(code_name(refusal.code), reason, json!(refusal.metadata))
        }
        Error::Retry { why, .. } => {
            let reason = why.as_str_name().replace("REASON_", "RETRY_");
            shown(code_name(Code::FailedPrecondition), &reason, json!({}))
        }
        other => shown("CLIENT", &other.to_string(), json!({})),
    }
}

fn sealed(sealed: Sealed) -> Value {
    json!({
        "packet": hexed(&sealed.packet), "to_peer": hexes(&sealed.to_peer), "counter": sealed.counter,
        "epoch": sealed.epoch, "rotation_due": sealed.rotation_due,
    })
}

fn opened(opened: Opened) -> Value {
    if let Some(reason) = opened.refused {
        return json!({"refused": reason.as_str()});
    }
    let control = match opened.plaintext {
        Some(_) => "",
        None => opened.control.as_str_name().trim_start_matches("CONTROL_KIND_"),
    };
    json!({
        "refused": "", "plaintext": opened.plaintext.map(|text| hexed(&text)), "control": control,
        "to_peer": hexes(&opened.to_peer), "counter": opened.counter, "epoch": opened.epoch, "newest": opened.newest,
        "early": opened.early,
    })
}

/// A session that has begun or gone on.
fn begun(session: &Session) -> Value {
    let is_established = session.established().is_some();
    let made = session.established().unwrap_or_default();
    json!({
        "session_id": hexed(&session.id()), "endpoint": session.endpoint(),
        "connection_id": hexed(&session.connection_id()), "to_peer": hexes(&session.to_peer()),
        "payload": hexed(&session.payload()), "ticket": hexed(&session.ticket()), "peer_id": session.peer_id(),
        "group": session.group(), "established": is_established, "handshake_hash": hexed(&made.handshake_hash),
        "remote_static_key": hexed(&made.remote_static_key),
    })
}
