//! Runs the program against services: good ones, ones that break one rule each, and hostile ones.

mod examples;
mod hostile;
mod options;
mod page;
mod replicas;
mod report;
mod rules;
mod shop;
mod tool;
