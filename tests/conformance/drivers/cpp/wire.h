// The lines of tests/conformance/suite/driver.py: JSON, in protobuf's own form of it, with bytes as hexadecimal digits.
#pragma once

#include <google/protobuf/struct.pb.h>
#include <noisegate/noisegate.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// What a request says.
class Request {
 public:
  explicit Request(const google::protobuf::Struct& fields) : fields_(fields) {}
  // Nothing where the line is none.
  static std::optional<google::protobuf::Struct> parse(const std::string& line);

  bool has(const std::string& name) const { return fields_.fields().contains(name); }
  std::string text(const std::string& name) const { return value(name).string_value(); }
  int number(const std::string& name, int otherwise = 0) const;
  bool flag(const std::string& name) const { return value(name).bool_value(); }
  std::string bytes(const std::string& name) const;
  std::vector<Request> objects(const std::string& name) const;
  std::vector<std::string> texts(const std::string& name) const;

  noisegate::v1::RecordMode mode() const;
  noisegate::v1::Protocol protocol() const;

 private:
  const google::protobuf::Value& value(const std::string& name) const;

  google::protobuf::Struct fields_;
};

// An answer's object, field by field.
class Object {
 public:
  Object& text(const std::string& name, std::string_view value);
  Object& number(const std::string& name, double value);
  Object& flag(const std::string& name, bool value);
  Object& bytes(const std::string& name, std::string_view value);
  Object& all_bytes(const std::string& name, const std::vector<std::string>& values);
  Object& texts(const std::string& name, const std::vector<std::string>& values);
  Object& null(const std::string& name);
  Object& object(const std::string& name, const Object& value);
  Object& objects(const std::string& name, const std::vector<Object>& values);

  // In one line.
  std::string line() const;

 private:
  google::protobuf::Value& at(const std::string& name) { return (*fields_.mutable_fields())[name]; }

  google::protobuf::Struct fields_;
};

// What the SDK gave, as the suite knows it.
Object shown(const noisegate::Error& error);
Object shown(const noisegate::Sealed& sealed);
Object shown(const noisegate::Opened& opened);
Object shown(const noisegate::Session& session);
Object shown(const noisegate::v1::Session& described);
Object shown(const noisegate::v1::RotateResponse& rotation);
Object shown(const noisegate::Received<std::string>& received);
