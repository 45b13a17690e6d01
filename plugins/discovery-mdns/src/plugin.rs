//! The engine as a plugin.

use std::time::Duration;

use qpq_plugin_api::{Discovery, DiscoveryHost, Error, Host, Op, PeerEvent, Plugin};
use serde_json::Value;

use crate::config::Config;
use crate::engine::{Engine, Outside};
use crate::record::Own;

/// The discovery plugin.
pub struct MdnsDiscovery {
    engine: Engine,
}

struct ToHost {
    host: Host,
    discovery: DiscoveryHost,
}

impl Outside for ToHost {
    fn peer(&self, event: PeerEvent, op: u64, record: &Value) -> bool {
        self.discovery.peer(event, op, record).is_ok()
    }

    fn warn(&self, text: &str) {
        self.host.warn(text);
    }
}

impl Plugin for MdnsDiscovery {
    fn create(host: Host, _instance: &str, config: Value) -> Result<Self, Error> {
        let config = Config::from_json(config).map_err(Error::invalid)?;
        let outside = ToHost { host, discovery: host.discovery()? };
        Ok(Self { engine: Engine::new(config, Box::new(outside)) })
    }

    fn start(&self, op: Op) {
        match self.engine.start() {
            Ok(()) => op.ok(),
            Err(why) => op.fail(&Error::failed(why)),
        }
    }

    fn quiesce(&self, op: Op, _deadline: Duration) {
        self.engine.say_goodbye();
        op.ok();
    }

    fn stop(&self, deadline: Duration) -> Result<(), Error> {
        self.engine.stop(deadline);
        Ok(())
    }
}

impl Discovery for MdnsDiscovery {
    fn advertise(&self, op: Op, record: Value) {
        match Own::from_json(record) {
            Ok(own) => {
                self.engine.advertise(op.id(), own);
                op.ok();
            }
            Err(why) => op.fail(&Error::invalid(why)),
        }
    }

    fn browse(&self, op: Op, service: &str) {
        self.engine.browse(op.id(), service);
        op.ok();
    }

    fn cancel(&self, op: u64) {
        self.engine.cancel(op);
    }

    fn stats(&self) -> Value {
        self.engine.stats()
    }
}
