//! What requests ask for, named as they have it.

use std::sync::Arc;
use std::time::Duration;

use noisegate::transport::{Certificate, ClientTlsConfig, Identity};
use noisegate::{Client, Item, Multiplex, Options, Policy, Receiver, ReceiverOptions, Result, Session, pb};
use serde_json::{Value, json};

use crate::request::{Request, hexed, hexes};
use crate::{Driver, begun, opened, refusal, sealed};

/// None where there is no such operation.
pub async fn run(driver: &Driver, request: &Request) -> Option<Result<Value>> {
    let session = || driver.session(request.text("session"));
    Some(match request.text("op") {
        "connect" => connect(driver, request),
        "disconnect" => Ok(disconnect(driver, request)),
        "sent" => Ok(sent(driver, &session())),
        "capabilities" => capabilities(driver, request).await,
        "respond" => respond(driver, request).await,
        "initiate" => initiate(driver, request).await,
        "respond_resume" => respond_resume(driver, request).await,
        "restore" => restore(driver, request).await,
        "handle" => Ok(handle(driver, request)),
        "proceed" => proceed(session(), request).await,
        "encrypt" => encrypt(session(), request).await,
        "decrypt" => decrypt(session(), request).await,
        "rotate" => rotate(session(), request).await,
        "issue_ticket" => issue_ticket(session()).await,
        "suspend" => suspend(session(), request).await,
        "describe" => describe(session()).await,
        "export_secret" => export_secret(session(), request).await,
        "close" => close(session()).await,
        "encrypt_batch" => Ok(encrypt_batch(driver, request).await),
        "decrypt_batch" => Ok(decrypt_batch(driver, request).await),
        "broadcast" => Ok(broadcast(driver, request).await),
        "receive" => receive(driver, request).await,
        _ => return None,
    })
}

fn connect(driver: &Driver, request: &Request) -> Result<Value> {
    let given = |field, default: Duration| match request.number(field) {
        0 => default,
        milliseconds => Duration::from_millis(milliseconds),
    };
    let mut policy = Policy::default();
    policy.packet_deadline = given("packet_ms", policy.packet_deadline);
    policy.control_deadline = given("control_ms", policy.control_deadline);
    if request.number("attempts") > 0 {
        policy.attempts = request.number("attempts") as u32;
    }
    let mut options = Options::new().policy(policy);
    if request.has("multiplex") {
        let mut multiplex = Multiplex::default();
        if request.number("max_items") > 0 {
            multiplex.max_items = request.number("max_items") as usize;
        }
        options = options.multiplex(multiplex);
    }
    if request.has("on_send") {
        let sent = driver.sent.clone();
        options = options.on_send(move |session, messages| {
            sent.lock().unwrap().entry(session.id()).or_default().extend(messages);
        });
    }
    if request.number("window") > 0 {
        let window = request.number("window") as u32;
        options = options.endpoint(move |endpoint| {
            endpoint.initial_stream_window_size(window).initial_connection_window_size(window)
        });
    }
    if !request.text("ca").is_empty() {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(request.bytes("ca")));
        if !request.text("certificate").is_empty() {
            tls = tls.identity(Identity::from_pem(request.bytes("certificate"), request.bytes("key")));
        }
        options = options.tls(tls);
    }
    let client = Client::connect(request.text("target"), options)?;
    driver.clients.lock().unwrap().insert(request.text("client").to_owned(), client);
    Ok(json!({}))
}

fn disconnect(driver: &Driver, request: &Request) -> Value {
    driver.client(request).close();
    json!({})
}

/// What the client's hook was given for a session since it was last asked.
fn sent(driver: &Driver, session: &Session) -> Value {
    let messages = driver.sent.lock().unwrap().remove(&session.id()).unwrap_or_default();
    json!({"messages": hexes(&messages)})
}

async fn capabilities(driver: &Driver, request: &Request) -> Result<Value> {
    let found = driver.client(request).capabilities().await?;
    Ok(json!({"static_key": hexed(&found.static_key), "protocol_version": found.protocol_version}))
}

async fn respond(driver: &Driver, request: &Request) -> Result<Value> {
    let step = pb::RespondHandshake {
        mode: request.mode().into(),
        protocol: request.protocol(),
        hello: request.bytes("hello"),
        message: request.bytes("message"),
        psk: request.bytes("psk"),
        prologue: request.bytes("prologue"),
        payload: request.bytes("payload"),
        peer_id: request.text("peer_id").to_owned(),
        group: request.text("group").to_owned(),
        options: None,
    };
    Ok(driver.keep(request, driver.client(request).respond(step).await?))
}

async fn initiate(driver: &Driver, request: &Request) -> Result<Value> {
    let step = pb::InitiateHandshake {
        mode: request.mode().into(),
        protocol: request.protocol(),
        remote_static_key: request.bytes("remote_static_key"),
        psk: request.bytes("psk"),
        prologue: request.bytes("prologue"),
        payload: request.bytes("payload"),
        peer_id: request.text("peer_id").to_owned(),
        group: request.text("group").to_owned(),
        options: Some(pb::SessionOptions { tickets: request.has("tickets"), ..Default::default() }),
        ..Default::default()
    };
    Ok(driver.keep(request, driver.client(request).initiate(step).await?))
}

async fn respond_resume(driver: &Driver, request: &Request) -> Result<Value> {
    let step = pb::RespondResume {
        mode: request.mode().into(),
        message: request.bytes("message"),
        ticket: request.bytes("ticket"),
        prologue: request.bytes("prologue"),
        payload: request.bytes("payload"),
        ..Default::default()
    };
    Ok(driver.keep(request, driver.client(request).respond_resume(step).await?))
}

async fn restore(driver: &Driver, request: &Request) -> Result<Value> {
    let source = match request.bytes("blob") {
        blob if blob.is_empty() => pb::restore_session_request::Source::SessionId(request.bytes("session_id")),
        blob => pb::restore_session_request::Source::Blob(blob),
    };
    Ok(driver.keep(request, driver.client(request).restore("", source).await?))
}

fn handle(driver: &Driver, request: &Request) -> Value {
    let client = driver.client(request);
    driver.keep(request, client.session(request.bytes("session_id"), request.text("endpoint"), request.mode()))
}

async fn proceed(session: Session, request: &Request) -> Result<Value> {
    session.proceed_with(request.bytes("message"), request.bytes("payload")).await?;
    Ok(begun(&session))
}

async fn encrypt(session: Session, request: &Request) -> Result<Value> {
    let record = session.encrypt_with_ad(request.bytes("plaintext"), request.bytes("associated_data"));
    Ok(sealed(record.await?))
}

async fn decrypt(session: Session, request: &Request) -> Result<Value> {
    let ciphertext = request.bytes("ciphertext");
    if request.has("is_ticket") {
        return Ok(opened(session.decrypt_ticket(ciphertext).await?));
    }
    Ok(opened(session.decrypt_with_ad(ciphertext, request.bytes("associated_data")).await?))
}

async fn rotate(session: Session, request: &Request) -> Result<Value> {
    let kind = format!("ROTATION_KIND_{}", request.text("kind"));
    let direction = format!("DIRECTION_{}", request.text("direction"));
    let rotation = session.rotate(pb::RotateRequest {
        kind: pb::RotationKind::from_str_name(&kind).unwrap_or_default().into(),
        direction: pb::Direction::from_str_name(&direction).unwrap_or_default().into(),
        message: request.bytes("message"),
        switch_send: request.has("switch_send"),
        switch_receive: request.has("switch_receive"),
        ..Default::default()
    });
    let rotation = rotation.await?;
    Ok(json!({
        "to_peer": hexes(&rotation.to_peer), "state": state_name(rotation.state()), "epoch": rotation.epoch,
        "counter": rotation.counter, "ready_to_switch": rotation.ready_to_switch,
    }))
}

fn state_name(state: pb::SessionState) -> &'static str {
    state.as_str_name().trim_start_matches("SESSION_STATE_")
}

async fn issue_ticket(session: Session) -> Result<Value> {
    Ok(json!({"to_peer": hexes(&session.issue_ticket().await?.to_peer)}))
}

async fn suspend(session: Session, request: &Request) -> Result<Value> {
    Ok(json!({"blob": hexed(&session.suspend(request.has("return_blob")).await?.blob)}))
}

async fn describe(session: Session) -> Result<Value> {
    let found = session.describe().await?;
    Ok(json!({
        "state": state_name(found.state()), "peer_id": found.peer_id, "group": found.group, "epoch": found.epoch,
    }))
}

async fn export_secret(session: Session, request: &Request) -> Result<Value> {
    let length = request.number("length") as u32;
    let secret = session.export_secret(request.text("label"), request.bytes("context"), length).await?;
    Ok(json!({"secret": hexed(&secret)}))
}

async fn close(session: Session) -> Result<Value> {
    let to_peer = session.close().await?;
    Ok(json!({"to_peer": hexes(&to_peer), "ended": session.ended()}))
}

fn items(driver: &Driver, request: &Request) -> Vec<Item> {
    let item = |item: &Request| Item {
        session: driver.session(item.text("session")),
        body: item.bytes("body"),
        associated_data: item.bytes("associated_data"),
    };
    request.items("items").iter().map(item).collect()
}

fn shown<T>(results: Vec<Result<T>>, show: impl Fn(T) -> Value) -> Value {
    let each = |result: Result<T>| result.map_or_else(|error| json!({"error": refusal(&error)}), &show);
    json!({"items": results.into_iter().map(each).collect::<Vec<_>>()})
}

async fn encrypt_batch(driver: &Driver, request: &Request) -> Value {
    shown(driver.client(request).encrypt_batch(items(driver, request)).await, sealed)
}

async fn decrypt_batch(driver: &Driver, request: &Request) -> Value {
    shown(driver.client(request).decrypt_batch(items(driver, request)).await, opened)
}

async fn broadcast(driver: &Driver, request: &Request) -> Value {
    let names = request.items("sessions");
    let sessions: Vec<_> = names.iter().map(|name| driver.session(name.0.as_str().unwrap_or_default())).collect();
    let (plaintext, associated_data) = (request.bytes("plaintext"), request.bytes("associated_data"));
    let client = driver.client(request);
    shown(client.broadcast_with_ad(&sessions, plaintext, associated_data).await, sealed)
}

async fn receive(driver: &Driver, request: &Request) -> Result<Value> {
    let receiver = match driver.receivers.lock().unwrap().entry(request.text("receiver").to_owned()) {
        std::collections::hash_map::Entry::Occupied(known) => known.get().clone(),
        std::collections::hash_map::Entry::Vacant(free) => {
            let receiver = Receiver::new(driver.client(request), ReceiverOptions::default())?;
            free.insert(Arc::new(receiver)).clone()
        }
    };
    let received = receiver.receive(&request.bytes("packet"), request.text("source").to_owned()).await?;
    if let Some(session) = &received.session {
        driver.keep(request, session.clone());
    }
    let (to_send, sources): (Vec<_>, Vec<_>) =
        received.to_send.iter().map(|datagram| (hexed(&datagram.bytes), datagram.address.clone())).unzip();
    Ok(json!({
        "refused": received.refused.as_ref().map_or("", |reason| reason.as_str()),
        "plaintexts": received.plaintext().into_iter().map(hexed).collect::<Vec<_>>(), "to_send": to_send,
        "sources": sources, "established": received.established, "new_session": received.new_session,
        "moved": received.moved, "withheld": received.withheld,
    }))
}
