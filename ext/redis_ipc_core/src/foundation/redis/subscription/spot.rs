//! Where a subscription is.

use crate::foundation::net::address::Address;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connector::Connector;
use redis::RedisResult;
use std::sync::Arc;

/// Where a subscription is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spot {
    /// At the server; in a cluster at any node.
    Any,
    /// At this node of a cluster.
    Node(Arc<Address>),
}

impl Spot {
    /// Returns the route there. With each `turn` another node is tried, where any will do.
    pub fn route(&self, connector: &Connector, turn: usize) -> RedisResult<Route> {
        match self {
            Self::Any => connector.any_node(turn),
            Self::Node(node) => Ok(Route::Node(Arc::clone(node))),
        }
    }
}
