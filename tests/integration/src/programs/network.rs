//! Programs that use the network: the host's run is in a network namespace of its own.

use super::*;

programs! { "network", network true;
    "nc" on ALL uses "nc": "sends a line over TCP and one over UDP to another nc";
}
