//! `vserver exec` and `vserver suexec`: commands inside, with their own exit
//! codes, and with nothing of the host's.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use tests::{DEADLINE, Host, Tree, command, process};

on! { Busybox: [
    exit_codes_are_the_commands,
    death_by_a_signal_is_128_and_the_number,
    what_cannot_be_run_is_126_or_127,
    an_unknown_guest_is_125,
    input_and_output_pass_unchanged,
    what_cannot_be_passed_on_is_told,
    the_hosts_environment_and_descriptors_stay_outside,
    both_word_orders_mean_the_same,
    suexec_takes_the_users_groups_from_the_guest,
    suexec_of_an_unknown_user_is_125,
    no_line_of_the_guests_keeps_root_out,
] }
on! { Bookworm, Busybox: [sessions_are_as_confined_as_the_guest] }

fn exit_codes_are_the_commands(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    for code in [0, 1, 2, 3, 5, 7, 63, 64, 100, 124, 125, 126, 127, 128, 129, 200, 254, 255] {
        guest.shell(&format!("exit {code}")).code(code);
    }
}

fn death_by_a_signal_is_128_and_the_number(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    // Not QUIT, which busybox's shell ignores.
    for signal in [1, 2, 6, 9, 10, 13, 15] {
        guest.shell(&format!("kill -{signal} $$")).code(128 + signal);
    }
}

fn what_cannot_be_run_is_126_or_127(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    guest.exec(["/etc/passwd"]).code(126).complains("'/etc/passwd'");
    guest.exec(["/etc"]).code(126).complains("'/etc'");
    guest.exec(["/no/such/program"]).code(127).complains("'/no/such/program'");
    guest.exec(["no-such-program"]).code(127).complains("'no-such-program'");
}

fn an_unknown_guest_is_125(_: Tree) {
    let host = Host::new();
    host.vserver(["exec", "nobody", "--", "true"])
        .code(125)
        .complains("there is no guest 'nobody'");
    host.vserver(["suexec", "root", "nobody", "--", "true"]).code(125);
}

fn input_and_output_pass_unchanged(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let mut exec = guest.command("exec", ["--", "md5sum"]);
    exec.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = exec.spawn().expect("vserver runs");
    let bytes: Vec<u8> = (0..=255_u8).cycle().take(3_000_000).collect();
    let mut input = child.stdin.take().expect("stdin is a pipe");
    input.write_all(&bytes).expect("input is taken");
    drop(input);
    let inside = child.wait_with_output().expect("it ends").stdout;

    let file = host.prefix().join("bytes");
    fs::write(&file, &bytes).expect("a file can be written");
    let mut outside = Command::new("md5sum");
    let outside = command::run(outside.arg(&file), DEADLINE).ok();
    assert_eq!(inside.get(..32), outside.stdout.as_bytes().get(..32));

    let output = guest.exec(["head", "-c", "3000000", "/dev/zero"]).ok();
    assert_eq!(output.stdout.len(), 3_000_000);
    guest.shell("echo out; echo err >&2").ok().says("out\n").complains("err\n");
}

fn what_cannot_be_passed_on_is_told(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let full = || fs::File::options().write(true).open("/dev/full").expect("it is there");
    let run = |script: &str, streams: &dyn Fn(&mut Command)| {
        let mut exec = guest.command("exec", ["--", "sh", "-c", script]);
        exec.stdin(Stdio::null()).stderr(Stdio::piped());
        streams(&mut exec);
        let end = exec.output().expect("vserver runs");
        (end.status.code(), String::from_utf8_lossy(&end.stderr).into_owned())
    };
    let into_full = |exec: &mut Command| {
        exec.stdout(full());
    };
    for script in ["echo a dump", "head -c 3000000 /dev/zero", "echo a dump; exit 3"] {
        let (code, said) = run(script, &into_full);
        assert_eq!(code, Some(125), "{said}");
        assert!(
            said.contains("write to standard output") && said.contains("No space left"),
            "{said}"
        );
    }
    let directory = || fs::File::open("/").expect("it is there");
    let (code, said) = run("cat", &|exec| {
        exec.stdin(directory());
    });
    assert_eq!(code, Some(125), "{said}");
    assert!(said.contains("standard input") && said.contains("Is a directory"), "{said}");
    // What nobody misses: messages, and what a reader has left behind.
    assert_eq!(
        run("echo error >&2", &|exec| {
            exec.stderr(full());
        })
        .0,
        Some(0)
    );
    let (reader, writer) = std::io::pipe().expect("there are pipes");
    drop(reader);
    let left = move |exec: &mut Command| {
        exec.stdout(writer.try_clone().expect("it can be had"));
    };
    assert_eq!(run("echo unread", &left).0, Some(0));
    assert_eq!(
        run("true", &|exec| {
            exec.stdin(full());
        })
        .0,
        Some(0),
        "as nohup has it"
    );
    guest.stop();
}

fn the_hosts_environment_and_descriptors_stay_outside(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let mut exec = guest.command("exec", ["--", "env"]);
    exec.env("HOST_SECRET", "leaked").env("LD_PRELOAD", "/leaked.so");
    let environment = command::run(&mut exec, DEADLINE).ok();
    for name in ["HOST_SECRET", "LD_PRELOAD", "VSERVER_PREFIX"] {
        assert!(!environment.stdout.contains(name), "{name} is inside\n{environment}");
    }
    for line in ["HOME=/root", "container=vserver"] {
        let has = environment.stdout.lines().any(|other| other == line);
        assert!(has, "{line} is missing\n{environment}");
    }
    // ls has one of its own, for the directory that it reads.
    guest.exec(["ls", "/proc/self/fd"]).ok().says("0\n1\n2\n3\n");
}

fn both_word_orders_mean_the_same(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    host.vserver(["web", "exec", "echo", "old"]).ok().says("old\n");
    host.vserver(["web", "suexec", "user", "id", "-un"]).ok().says("user\n");
    host.vserver(["web", "running"]).ok().says("");
}

fn suexec_takes_the_users_groups_from_the_guest(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let id = |user: &str, what: &str| host.vserver(["suexec", user, "web", "--", "id", what]).ok();
    id("user", "-u").says("1000\n");
    id("user", "-g").says("1000\n");
    id("user", "-G").says("1000 2000\n");
    id("1000", "-u").says("1000\n");
    id("1000", "-G").says("1000 2000\n");
    id("root", "-G").says("0\n");
    host.vserver(["suexec", "user", "web", "--", "cat", "/etc/shadow"]).code(1);
    host.vserver(["suexec", "user", "web", "--", "sh", "-c", "exit 9"]).code(9);
    let home = host.vserver(["suexec", "user", "web", "--", "sh", "-c", "echo $HOME"]).ok();
    home.says("/home/user\n");
}

fn suexec_of_an_unknown_user_is_125(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let beyond = host.vserver(["suexec", "70000", "web", "--", "id"]).code(125);
    beyond.complains("can't have a user '70000'").complains("0 to 65535");
    host.vserver(["suexec", "nobody-here", "web", "--", "id"]).code(125).complains("'nobody-here'");
}

/// Ids that a guest with a range of its own doesn't have are root's in its files.
fn no_line_of_the_guests_keeps_root_out(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let passwd = guest.read("/etc/passwd");
    for users in ["private", "identity", "host"] {
        host.vserver(["config", "set", "web", "security.users", users]).ok();
        guest.start();
        guest.shell("echo 'x:x:70000:root,user' >>/etc/group").ok();
        let beyond = if users == "host" { " 70000" } else { "" };
        guest.exec(["id", "-G"]).ok().says(&format!("0{beyond}\n"));
        let user = host.vserver(["suexec", "user", "web", "--", "id", "-G"]).ok();
        user.says(&format!("1000 2000{beyond}\n"));
        if users != "host" {
            guest.shell("sed -i s/^root:x:0:0:/root:x:70000:0:/ /etc/passwd").ok();
            guest.exec(["id", "-u"]).ok().says("0\n");
            let root = host.vserver(["suexec", "root", "web", "--", "id"]).code(125);
            root.complains("can't have a user 'root'").complains("0 to 65535");
        }
        guest.stop();
        guest.write("/etc/passwd", &passwd, 0o644);
        guest.write("/etc/group", "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n", 0o644);
    }
}

fn sessions_are_as_confined_as_the_guest(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    guest.start();
    let mut session = guest.command("exec", ["--", "sleep", "4321"]).spawn().expect("vserver runs");
    guest.wait_for_process("sleep");
    let all = host.processes();
    let inside = all.iter().find(|process| process.arguments == ["sleep", "4321"]);
    let inside = inside.expect("the session's process").pid;
    let init = guest.init_pid();
    assert_eq!(namespaces(inside), namespaces(init), "all namespaces are the guest's");
    for field in ["CapBnd:", "Seccomp:", "Uid:", "Gid:"] {
        assert_eq!(line(inside, field), line(init, field), "{field} as PID 1 has it");
    }
    let cgroup = fs::read_to_string(format!("/proc/{inside}/cgroup")).unwrap_or_default();
    assert!(cgroup.contains(&host.paths().instance()), "a cgroup of the guest: {cgroup}");
    assert!(process::is_alive(inside));
    guest.stop();
    let _ = session.wait();
}

fn namespaces(pid: i32) -> BTreeMap<String, String> {
    let entries = fs::read_dir(format!("/proc/{pid}/ns")).expect("a living process").flatten();
    let named = entries.map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let target = fs::read_link(entry.path()).expect("a namespace's link");
        (name, target.to_string_lossy().into_owned())
    });
    // What children get, which a session that has no children may differ in.
    named.filter(|(name, _)| !name.ends_with("_for_children")).collect()
}

fn line(pid: i32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.trim_end().to_owned()
}
