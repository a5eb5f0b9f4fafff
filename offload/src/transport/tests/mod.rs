mod enrolment;
mod ground;
mod handshake;
mod network;
mod nodes;
mod relay;
