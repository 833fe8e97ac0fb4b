// How sessions begin. `hook` says whether to_peer of the new session is on_send's.
#pragma once

#include <string>
#include <utility>

#include "core.h"
#include "facts.h"
#include "noisegate/session.h"

namespace noisegate::detail {

Pending<Session> respond(Core& core, v1::RespondHandshake step, CallOptions options, bool hook);
Pending<Session> respond_resume(Core& core, v1::RespondResume step, CallOptions options, bool hook);

Pending<Session> shake(Core& core, v1::HandshakeRequest request, Facts begun, CallOptions options, bool hook);
Pending<Session> resume(Core& core, v1::ResumeRequest request, Facts begun, CallOptions options, bool hook);
Pending<Session> restore(Core& core, std::string endpoint, v1::RestoreSessionRequest request, CallOptions options);

}  // namespace noisegate::detail
