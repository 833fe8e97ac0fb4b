#include "wire.h"

#include <google/protobuf/util/json_util.h>

namespace v1 = noisegate::v1;

namespace {

std::string hexed(std::string_view bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const unsigned char byte : bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 0x0f];
  }
  return text;
}

int digit(char letter) { return letter <= '9' ? letter - '0' : letter - 'a' + 10; }

// The name of an enum's value without what all of them begin with.
std::string without(std::string_view prefix, const std::string& name) { return name.substr(prefix.size()); }

}  // namespace

std::optional<google::protobuf::Struct> Request::parse(const std::string& line) {
  google::protobuf::Struct fields;
  if (!google::protobuf::util::JsonStringToMessage(line, &fields).ok()) return std::nullopt;
  return fields;
}

const google::protobuf::Value& Request::value(const std::string& name) const {
  const auto found = fields_.fields().find(name);
  return found == fields_.fields().end() ? google::protobuf::Value::default_instance() : found->second;
}

int Request::number(const std::string& name, int otherwise) const {
  return has(name) ? static_cast<int>(value(name).number_value()) : otherwise;
}

std::string Request::bytes(const std::string& name) const {
  const auto& digits = value(name).string_value();
  std::string bytes;
  bytes.reserve(digits.size() / 2);
  for (std::size_t at = 0; at + 1 < digits.size(); at += 2) {
    bytes += static_cast<char>(digit(digits[at]) << 4 | digit(digits[at + 1]));
  }
  return bytes;
}

std::vector<Request> Request::objects(const std::string& name) const {
  std::vector<Request> all;
  for (const auto& each : value(name).list_value().values()) all.emplace_back(each.struct_value());
  return all;
}

std::vector<std::string> Request::texts(const std::string& name) const {
  std::vector<std::string> all;
  for (const auto& each : value(name).list_value().values()) all.push_back(each.string_value());
  return all;
}

v1::RecordMode Request::mode() const {
  v1::RecordMode mode = v1::RECORD_MODE_UNSPECIFIED;
  v1::RecordMode_Parse("RECORD_MODE_" + text("mode"), &mode);
  return mode;
}

v1::Protocol Request::protocol() const {
  v1::Pattern pattern = v1::PATTERN_UNSPECIFIED;
  v1::Suite suite = v1::SUITE_UNSPECIFIED;
  v1::Pattern_Parse("PATTERN_" + text("pattern"), &pattern);
  v1::Suite_Parse("SUITE_" + text("suite"), &suite);
  v1::Protocol protocol;
  protocol.set_pattern(pattern);
  protocol.set_suite(suite);
  return protocol;
}

Object& Object::text(const std::string& name, std::string_view value) {
  at(name).set_string_value(std::string(value));
  return *this;
}

Object& Object::number(const std::string& name, double value) {
  at(name).set_number_value(value);
  return *this;
}

Object& Object::flag(const std::string& name, bool value) {
  at(name).set_bool_value(value);
  return *this;
}

Object& Object::bytes(const std::string& name, std::string_view value) { return text(name, hexed(value)); }

Object& Object::all_bytes(const std::string& name, const std::vector<std::string>& values) {
  std::vector<std::string> all;
  for (const auto& value : values) all.push_back(hexed(value));
  return texts(name, all);
}

Object& Object::texts(const std::string& name, const std::vector<std::string>& values) {
  auto* list = at(name).mutable_list_value();
  for (const auto& value : values) list->add_values()->set_string_value(value);
  return *this;
}

Object& Object::null(const std::string& name) {
  at(name).set_null_value(google::protobuf::NULL_VALUE);
  return *this;
}

Object& Object::object(const std::string& name, const Object& value) {
  *at(name).mutable_struct_value() = value.fields_;
  return *this;
}

Object& Object::objects(const std::string& name, const std::vector<Object>& values) {
  auto* list = at(name).mutable_list_value();
  for (const auto& value : values) *list->add_values()->mutable_struct_value() = value.fields_;
  return *this;
}

std::string Object::line() const {
  std::string line;
  if (!google::protobuf::util::MessageToJsonString(fields_, &line).ok()) return "{}";
  return line;
}

Object shown(const noisegate::Error& error) {
  Object metadata;
  for (const auto& [key, value] : error.metadata) metadata.text(key, value);
  Object object;
  object.text("code", noisegate::name_of(error.code)).text("reason", error.reason);
  return object.flag("resume_needed", error.resume_needed()).object("metadata", metadata);
}

Object shown(const noisegate::Sealed& sealed) {
  Object object;
  object.bytes("packet", sealed.packet).all_bytes("to_peer", sealed.to_peer);
  object.number("counter", static_cast<double>(sealed.counter)).number("epoch", sealed.epoch);
  return object.flag("rotation_due", sealed.rotation_due);
}

Object shown(const noisegate::Opened& opened) {
  Object object;
  object.text("refused", opened.refused);
  if (!opened.refused.empty()) return object;
  if (opened.has_plaintext) {
    object.bytes("plaintext", opened.plaintext).text("control", "");
  } else {
    object.null("plaintext").text("control", without("CONTROL_KIND_", v1::ControlKind_Name(opened.control)));
  }
  object.all_bytes("to_peer", opened.to_peer);
  object.number("counter", static_cast<double>(opened.counter)).number("epoch", opened.epoch);
  return object.flag("newest", opened.newest).flag("early", opened.early);
}

Object shown(const noisegate::Session& session) {
  const auto made = session.established();
  Object object;
  object.bytes("session_id", session.id()).text("endpoint", session.endpoint());
  object.bytes("connection_id", session.connection_id()).all_bytes("to_peer", session.to_peer());
  object.bytes("payload", session.payload()).bytes("ticket", session.ticket());
  object.text("peer_id", session.peer_id()).text("group", session.group()).flag("established", made.has_value());
  object.bytes("handshake_hash", made ? made->handshake_hash() : "");
  return object.bytes("remote_static_key", made ? made->remote_static_key() : "");
}

Object shown(const v1::Session& described) {
  Object object;
  object.text("state", without("SESSION_STATE_", v1::SessionState_Name(described.state())));
  object.text("peer_id", described.peer_id()).text("group", described.group());
  return object.number("epoch", described.epoch());
}

Object shown(const v1::RotateResponse& rotation) {
  Object object;
  object.all_bytes("to_peer", {rotation.to_peer().begin(), rotation.to_peer().end()});
  object.text("state", without("SESSION_STATE_", v1::SessionState_Name(rotation.state())));
  object.number("epoch", rotation.epoch()).number("counter", static_cast<double>(rotation.counter()));
  return object.flag("ready_to_switch", rotation.ready_to_switch());
}

Object shown(const noisegate::Received<std::string>& received) {
  std::vector<std::string> plaintexts, to_send, sources;
  if (const auto* plaintext = received.plaintext()) plaintexts.push_back(*plaintext);
  for (const auto& datagram : received.to_send) {
    to_send.push_back(datagram.bytes);
    sources.push_back(datagram.address);
  }
  Object object;
  object.text("refused", received.refused).all_bytes("plaintexts", plaintexts);
  object.all_bytes("to_send", to_send).texts("sources", sources);
  object.flag("established", received.established).flag("new_session", received.new_session);
  return object.flag("moved", received.moved).number("withheld", static_cast<double>(received.withheld));
}
