//! `RedisStore` against Redis servers of the tests' own, their topologies and their faults.

mod acl;
mod clock;
mod cluster;
mod compare_and_set;
mod credentials;
mod down;
mod faults;
mod given_connection;
mod late;
mod lazy;
mod lost_reply;
mod outage;
mod records;
mod refusals;
mod register;
mod sentinel;
mod startup;
mod tls;
