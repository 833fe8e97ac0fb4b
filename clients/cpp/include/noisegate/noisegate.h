// The SDK of noisegate: a game service hands the crypto of its players' sessions to a service, bytes in, bytes out. It
// forwards what a player sent and sends what it gets back; keys never leave the service, and no cryptography is done
// here.
//
// Requests and descriptions are the contract's own messages (namespace noisegate::v1), which docs/ and the comments of
// proto/noisegate/v1 explain. Bytes are std::string. Nothing throws, and nothing waits but Pending::take.
#pragma once

#include "noisegate/client.h"
#include "noisegate/error.h"
#include "noisegate/fragments.h"
#include "noisegate/options.h"
#include "noisegate/packet.h"
#include "noisegate/pending.h"
#include "noisegate/receiver.h"
#include "noisegate/records.h"
#include "noisegate/session.h"
