//! Two ranks on two hosts: network namespaces with a link between them, each with a host name of its own, so that Open MPI
//! starts a rank on each and sends over TCP.

use crate::runs::{difference, ids, train};
use crate::support::run::{QUICK, file, ok, text};
use crate::{MPIRUN, done};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Two namespaces, which are also their host names; removed at the end.
struct Hosts([String; 2]);

const ADDRESSES: [&str; 2] = ["10.77.0.1", "10.77.0.2"];

fn ip(args: &str) {
    let out = Command::new("ip").args(args.split(' ')).output().unwrap();
    assert!(out.status.success(), "ip {args}: {}", String::from_utf8_lossy(&out.stderr));
}

impl Hosts {
    fn linked() -> Self {
        // names of interfaces have at most 15 characters
        let hosts = Self(["a", "b"].map(|name| format!("lab{}{name}", std::process::id())));
        let [a, b] = &hosts.0;
        ip(&format!("netns add {a}"));
        ip(&format!("netns add {b}"));
        ip(&format!("link add {a} netns {a} type veth peer name {b} netns {b}"));
        for (host, address) in hosts.0.iter().zip(ADDRESSES) {
            ip(&format!("-n {host} addr add {address}/24 dev {host}"));
            ip(&format!("-n {host} link set lo up"));
            ip(&format!("-n {host} link set {host} up"));
        }
        hosts
    }

    /// What `mpirun` calls instead of ssh: starts a command on the second host.
    fn agent(&self, folder: &Path) -> PathBuf {
        let (path, host) = (folder.join("agent"), &self.0[1]);
        let script =
            format!("#!/bin/sh\nshift\nexec ip netns exec {host} unshare --uts sh -c \"hostname {host}; exec $*\"\n");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A program with a rank on each host.
    fn ranks(&self, agent: &Path, program: &[&str]) -> Command {
        let (host, network) = (&self.0[0], "10.77.0.0/24");
        let mut command = Command::new("ip");
        command.args([
            "netns",
            "exec",
            host,
            "unshare",
            "--uts",
            "sh",
            "-c",
            "hostname $0; exec \"$@\"",
            host,
            "mpirun",
        ]);
        command.args(MPIRUN).args(["--mca", "plm_rsh_agent", text(agent), "--mca", "btl", "tcp,self"]);
        command.args(["--mca", "btl_tcp_if_include", network, "--mca", "oob_tcp_if_include", network]);
        command.args(["--host", &ADDRESSES.map(|address| format!("{address}:1")).join(","), "-n", "2"]).args(program);
        command
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in &self.0 {
            let _ = Command::new("ip").args(["netns", "del", host]).output();
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn two_hosts_train_as_one_process_does() {
    let (dir, hosts) = (tempfile::tempdir().unwrap(), Hosts::linked());
    let agent = hosts.agent(dir.path());
    let [names, _] = done(hosts.ranks(&agent, &["hostname"]));
    let mut names: Vec<_> = names.lines().collect();
    names.sort_unstable();
    assert_eq!(names, hosts.0);

    let config = file(dir.path(), "c.json", QUICK);
    let [alone, two] = ["alone", "two"].map(|name| dir.path().join(name));
    ok(&train(text(&config), "3", &alone));
    let program =
        [&[env!("CARGO_BIN_EXE_detox-lab")], &train(text(&config), "3", &two)[..], &["--threads", "1"]].concat();
    done(hosts.ranks(&agent, &program));
    assert_eq!(ids(&two, 3), ids(&alone, 3));
    let off = difference(&two, &alone, 3);
    assert!(off <= 1e-5, "{off}");
}
