"""All that `noisegate doctor` looks at, in the order in which a start of the service would come by it."""

from __future__ import annotations

from noisegate_server.config import Config
from noisegate_server.doctor.certificates import examine_certificates
from noisegate_server.doctor.clock import examine_clock
from noisegate_server.doctor.findings import Findings
from noisegate_server.doctor.key_files import examine_key_files
from noisegate_server.doctor.limits import examine_limits
from noisegate_server.doctor.ports import examine_ports
from noisegate_server.doctor.state_file import examine_state_file

__all__ = ["examine"]


def examine(config: Config, wall: float) -> Findings:
    """What there is to say of a configuration, and of what it names, at `wall` (unix seconds). Changes nothing."""
    findings = Findings()
    findings.ok("configuration", "every option is in its range, and they go together")
    examine_key_files(findings, config, wall)
    examine_certificates(findings, config, wall)
    examine_clock(findings)
    examine_state_file(findings, config, wall)
    examine_limits(findings, config)
    examine_ports(findings, config)
    return findings
