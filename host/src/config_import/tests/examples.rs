//! Whole configurations, written by hand after each format's documentation:
//! what becomes of them, to the letter.

use super::{text, tree};
use crate::config::{parse, template};
use crate::config_import::{Content, File, Format, Outcome, import};

/// The configuration that is made, without what it doesn't say, and the keys
/// without counterpart with their lines.
#[track_caller]
pub(super) fn becomes(format: Format, files: &[File], wanted: &str, missing: &[(usize, &str)]) {
    let import = import(format, files);
    let said = parse::parse(wanted).unwrap_or_else(|problems| panic!("{wanted}: {problems:?}"));
    assert_eq!(import.config, said, "\n{}", template::render(&import.config).unwrap());
    let found: Vec<_> = import
        .settings
        .iter()
        .filter(|(_, outcome)| matches!(outcome, Outcome::Missing(_)))
        .map(|(setting, _)| (setting.line, &*setting.key))
        .collect();
    assert_eq!(found, missing);
    assert_eq!(import.is_whole(), missing.is_empty());
}

const LEGACY: &str = r#"# util-vserver 0.30, vserver-copy
if [ "$PROFILE" = "" ] ; then
	PROFILE=prod
fi
IPROOT="192.0.2.10 eth1:192.0.2.11/24"
IPROOTMASK=""
IPROOTDEV=eth0
ONBOOT=yes
S_HOSTNAME=web.example.org
S_DOMAINNAME=
S_NICE=5
S_FLAGS="lock nproc private"
ULIMIT="-HS -u 1000 -n 4096 -c 0"
S_CAPS="CAP_NET_RAW CAP_SYS_NICE !CAP_SYS_CHROOT"
S_CONTEXT=42
PRIORITY=20
"#;

#[test]
fn a_legacy_file_is_read_and_not_run() {
    let mut files = vec![text("/etc/vservers/web.conf", LEGACY)];
    files.push(File {
        path: "/etc/vservers/web.sh".into(),
        name: "web.sh".into(),
        content: Content::Script,
    });
    becomes(
        Format::Legacy,
        &files,
        "context = 42\nhostname = \"web.example.org\"\nautostart = true\n\
         network.addresses = [\"192.0.2.10\", \"192.0.2.11\"]\nnetwork.proxy_arp = \"eth1\"\n\
         limits.nice = 5\nlimits.processes = 1000\nlimits.files = 4096\n\
         security.capabilities.add = [\"sys_nice\"]\nsecurity.capabilities.drop = [\"sys_chroot\"]\n",
        &[
            (2, "shell code"),
            (3, "PROFILE"),
            (4, "shell code"),
            (12, "S_FLAGS"),
            (13, "ULIMIT"),
            (16, "PRIORITY"),
            (1, "NAME.sh"),
        ],
    );
}

#[test]
fn a_directory_says_a_value_a_file() {
    let files = tree(&[
        ("apps/init/depends", "ldap\nmail\n"),
        ("apps/init/environment", "LANG=C.UTF-8\n"),
        ("apps/init/killseq", "15 10 9\n"),
        ("apps/init/mark", "default\n"),
        ("apps/init/runlevel.start", "3\n"),
        ("apps/init/style", "sysv\n"),
        ("apps/vshelper/sync-timeout", "45\n"),
        ("apps/vunify/exclude", "# ours\n+/var/log/old\n/var/log\n\n~*.db\na**b\n"),
        ("bcapabilities", "SYS_NICE\n~SYS_CHROOT\n# comment\nNET_RAW, MKNOD\n"),
        ("cache", "-> /var/cache/vservers/web"),
        ("ccapabilities", "set_rlimit\nsecure_mount\n"),
        ("cflags", "virt_mem,sched_hard\n!virt_uptime\n"),
        ("cgroup/cpu.shares", "2048\n"),
        ("cgroup/memory.limit_in_bytes", "512M\n"),
        ("cgroup/memory.memsw.limit_in_bytes", "768M\n"),
        ("context", "1234\n"),
        ("dlimits/0/directory", "/vservers\n"),
        ("dlimits/0/inodes_total", "100000\n"),
        ("dlimits/0/space_total", "1048576\n"),
        (
            "fstab",
            "none /proc proc defaults 0 0\nnone /tmp tmpfs size=16m,mode=1777 0 0\n\
             /srv/www /var/www none bind,ro,noatime 0 0\n/dev/sdb1 /data ext4 defaults 0 0\n\
             none /dev/pts devpts gid=5,mode=620 0 0\n",
        ),
        ("interfaces/0/dev", "eth0\n"),
        ("interfaces/0/ip", "192.0.2.10\n"),
        ("interfaces/0/prefix", "24\n"),
        ("interfaces/1/dev", "eth0\n"),
        ("interfaces/1/ip", "2001:db8::10\n"),
        ("interfaces/2/disabled", ""),
        ("interfaces/2/ip", "192.0.2.12\n"),
        ("interfaces/3/ip", "127.0.0.2\n"),
        ("name", "web\n"),
        ("nice", "-5\n"),
        ("noisy", ""),
        ("rlimits/nproc.hard", "400\n"),
        ("rlimits/nproc.soft", "300\n"),
        ("rlimits/rss.soft", "65536\n"),
        ("run", "-> /var/run/vservers/web"),
        ("sched/fill-rate", "1\n"),
        ("sched/interval", "4\n"),
        ("scripts/pre-start", ""),
        ("spaces/net", ""),
        ("ulimits/nofile", "8192\n"),
        ("uts/nodename", "web.example.org\n"),
        ("uts/release", "2.6.32\n"),
        ("vdir", "-> /vservers/web"),
    ]);
    becomes(
        Format::Directory,
        &files,
        "context = 1234\nhostname = \"web.example.org\"\nautostart = true\nmarks = [\"default\"]\n\
         after = [\"ldap\", \"mail\"]\n[boot]\nrunlevel = \"3\"\nkill_grace = 10\nstop_timeout = 45\n\
         environment = { LANG = \"C.UTF-8\" }\n[network]\naddresses = [\"192.0.2.10\", \
         \"2001:db8::10\"]\nproxy_arp = \"eth0\"\n[security.capabilities]\nadd = [\"sys_nice\", \
         \"mknod\", \"sys_resource\"]\ndrop = [\"sys_chroot\"]\n[limits]\nnice = -5\nprocesses = 400\n\
         memory = \"512M\"\nmemory_high = \"256M\"\nswap = \"256M\"\ncpu_weight = 200\ncpus = 0.25\n\
         files = 8192\ndisk = \"1G\"\n[mounts]\nbind = [\"/srv/www:/var/www:ro\"]\ntmpfs = \
         [\"/tmp:size=16m,mode=1777\"]\n[unify]\nexclude = [\"+/var/log/old\", \"/var/log\", \
         \"~*.db\"]\n",
        &[
            (6, "apps/vunify/exclude"),
            (2, "ccapabilities"),
            (1, "cflags"),
            (2, "cflags"),
            (1, "dlimits/0/inodes_total"),
            (4, "fstab"),
            (1, "interfaces/3/ip"),
            (1, "scripts/pre-start"),
            (1, "spaces/net"),
            (1, "uts/release"),
        ],
    );
    let import = import(Format::Directory, &files);
    assert_eq!(import.root.as_deref(), Some("/vservers/web"));
    assert_eq!(import.name.as_deref(), Some("web"));
}

const LXC: &str = "# LXC 4 and later
lxc.include = /usr/share/lxc/config/debian.common.conf
lxc.include = /etc/lxc/site.conf
lxc.arch = amd64
lxc.uts.name = web
lxc.rootfs.path = dir:/var/lib/lxc/web/rootfs
lxc.net.0.type = veth
lxc.net.0.link = lxcbr0
lxc.net.0.flags = up
lxc.net.0.hwaddr = 00:16:3e:12:34:56
lxc.net.0.ipv4.address = 10.0.3.5/24 10.0.3.255
lxc.net.0.ipv4.gateway = 10.0.3.1
lxc.net.1.type = phys
lxc.net.1.link = eth1
lxc.mount.auto = proc:mixed sys:ro
lxc.mount.entry = /srv/www srv/www none bind,create=dir 0 0
lxc.mount.entry = /dev/fuse dev/fuse none bind,create=file,optional 0 0
lxc.mount.entry = tmpfs var/cache tmpfs size=64m 0 0
lxc.cap.drop = mac_admin sys_time
lxc.cap.drop = net_raw
lxc.cgroup2.memory.max = 1G
lxc.cgroup2.cpu.max = 150000 100000
lxc.cgroup2.pids.max = 500
lxc.cgroup2.devices.allow = c 10:229 rwm
lxc.cgroup2.hugetlb.2MB.max = 0
lxc.prlimit.nofile = 1024:65536
lxc.idmap = u 0 100000 65536
lxc.idmap = g 0 100000 65536
lxc.apparmor.profile = generated
lxc.apparmor.allow_nesting = 1
lxc.start.auto = 1
lxc.start.order = 10
lxc.group = onboot web
lxc.environment = LANG=C.UTF-8
lxc.hook.pre-start = /usr/local/bin/hook
lxc.signal.halt = SIGPWR
lxc.unheard.of = 1
";

#[test]
fn an_lxc_file_keeps_its_bridge_and_its_limits() {
    let files = [text("/var/lib/lxc/web/config", LXC)];
    becomes(
        Format::Lxc,
        &files,
        "hostname = \"web\"\nautostart = true\nmarks = [\"onboot\", \"web\"]\n\
         boot.environment = { LANG = \"C.UTF-8\" }\n\
         [network]\nbridge = \"lxcbr0\"\naddresses = [\"10.0.3.5/24\"]\ngateway = [\"10.0.3.1\"]\n\
         [mounts]\nbind = [\"/srv/www:/srv/www\"]\ntmpfs = [\"/var/cache:size=64m\"]\n\
         [security]\nnesting = true\ncapabilities = { drop = [\"net_raw\"] }\n\
         [limits]\nmemory = \"1G\"\ncpus = 1.5\nprocesses = 500\nfiles = 65536\n\
         [devices]\nallow = [\"/dev/fuse rw\"]\n",
        &[
            (3, "lxc.include"),
            (10, "lxc.net.0.hwaddr"),
            (13, "lxc.net.1.type"),
            (14, "lxc.net.1.link"),
            (25, "lxc.cgroup2.hugetlb.2MB.max"),
            (32, "lxc.start.order"),
            (35, "lxc.hook.pre-start"),
            (37, "lxc.unheard.of"),
        ],
    );
    let import = import(Format::Lxc, &files);
    assert_eq!(import.root.as_deref(), Some("/var/lib/lxc/web/rootfs"));
}

#[test]
fn an_old_lxc_file_has_old_names() {
    let old = "lxc.utsname = db\nlxc.rootfs = /var/lib/lxc/db/rootfs\nlxc.network.type = veth\n\
               lxc.network.link = br0\nlxc.network.ipv4 = 192.0.2.7/24\nlxc.network.type = empty\n\
               lxc.cgroup.cpuset.cpus = 0-1\nlxc.cap.keep = chown setuid setgid kill sys_time\n\
               lxc.aa_profile = lxc-container-default\nlxc.tty = 4\nlxc.pts = 1024\n";
    let import = import(Format::Lxc, &[text("config", old)]);
    assert!(import.is_whole(), "{:#?}", import.settings);
    let drop = &import.config.security.capabilities.drop;
    assert!(drop.contains(&"net_raw".to_owned()) && !drop.contains(&"kill".to_owned()));
    assert_eq!(import.config.security.capabilities.add, ["sys_time"]);
    assert_eq!(import.config.network.bridge.as_deref(), Some("br0"));
    assert_eq!(import.config.network.addresses.len(), 1);
}

#[test]
fn addresses_by_dhcp_have_to_be_given() {
    let dynamic = "lxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\n";
    becomes(
        Format::Lxc,
        &[text("config", dynamic)],
        "network.bridge = \"lxcbr0\"\n",
        &[(1, "lxc.net.0.type")],
    );
}

const NSPAWN: &str = "[Exec]
Boot=yes
Environment=LANG=C.UTF-8 \"MOTTO=a b\"
Capability=CAP_SYS_NICE CAP_CHOWN
DropCapability=CAP_NET_RAW
Hostname=web.example.org
CPUAffinity=0 1
LimitNOFILE=1024:4096
PrivateUsers=pick
Ephemeral=no
ResolvConf=copy-host

[Files]
Bind=/srv/www:/var/www:norbind
BindReadOnly=/srv/packages
Bind=-/srv/perhaps
TemporaryFileSystem=/var/cache:mode=0755
Overlay=/a:/b:/c

[Network]
Private=yes
VirtualEthernet=yes
Bridge=br0
Port=tcp:8080:80
";

#[test]
fn an_nspawn_file_has_sections() {
    becomes(
        Format::Nspawn,
        &[text("/etc/systemd/nspawn/web.nspawn", NSPAWN)],
        "hostname = \"web.example.org\"\n[boot.environment]\nLANG = \"C.UTF-8\"\nMOTTO = \"a b\"\n\
         [security.capabilities]\nadd = [\"sys_nice\"]\ndrop = [\"net_raw\"]\n\
         [limits]\ncpuset = \"0,1\"\nfiles = 4096\n[network]\nbridge = \"br0\"\n[mounts]\n\
         bind = [\"/srv/www:/var/www\", \"/srv/packages:/srv/packages:ro,rbind\", \
         \"/srv/perhaps:/srv/perhaps:optional,rbind\"]\ntmpfs = [\"/var/cache:mode=0755\"]\n",
        &[
            (11, "Exec.ResolvConf"),
            (18, "Files.Overlay"),
            (22, "Network.VirtualEthernet"),
            (24, "Network.Port"),
        ],
    );
}

#[test]
fn a_command_is_no_boot_and_an_empty_value_begins_anew() {
    let command = "[Exec]\nBoot=no\nParameters=/bin/sleep \"1 2\"\nEnvironment=A=1\nEnvironment=\n\
                   Environment=B=2 \\\n# between\nC=3\n";
    becomes(
        Format::Nspawn,
        &[text("x.nspawn", command)],
        "[boot]\ncommand = [\"/bin/sleep\", \"1 2\"]\nenvironment = { B = \"2\", C = \"3\" }\n",
        &[],
    );
}

const OPENVZ: &str = r#"# Global parameters for 101
ONBOOT="yes"
PHYSPAGES="0:131072"
SWAPPAGES="0:256M"
KMEMSIZE="14372700:14790164"
PRIVVMPAGES="65536:69632"
NUMPROC="240:240"
NUMFILE="9312:9312"
OOMGUARPAGES="26112:9223372036854775807"
DISKSPACE="2G:2.2G"
QUOTATIME="0"
CPUUNITS="2000"
CPULIMIT="150"
IOPRIO="4"
IOLIMIT="10485760"
VE_ROOT="/vz/root/$VEID"
VE_PRIVATE="/vz/private/$VEID"
OSTEMPLATE="debian-7.0-x86_64"
ORIGIN_SAMPLE="vswap-512m"
HOSTNAME="shop.example.org"
IP_ADDRESS="192.0.2.10 2001:db8::10/64"
NAMESERVER="192.0.2.53 inherit"
CAPABILITY="SYS_TIME:on NET_RAW:off"
DEVNODES="net/tun:rw "
FEATURES="nfs:on"
NAME="shop"
STOP_TIMEOUT=120
MINE=`hostname`
"#;

#[test]
fn an_openvz_file_has_barriers_and_limits() {
    let files = [text("/etc/vz/conf/101.conf", OPENVZ)];
    becomes(
        Format::Openvz,
        &files,
        "hostname = \"shop.example.org\"\nautostart = true\nboot.stop_timeout = 120\n[network]\n\
         addresses = [\"192.0.2.10\", \"2001:db8::10\"]\ndns = [\"192.0.2.53\"]\n\
         [security.capabilities]\nadd = [\"sys_time\"]\ndrop = [\"net_raw\"]\n\
         [devices]\nallow = [\"/dev/net/tun rw\"]\n[limits]\nmemory = \"512M\"\nswap = \"256M\"\n\
         processes = 240\ncpus = 1.5\ncpu_weight = 200\nio_weight = 100\ndisk = 2362232012\n",
        &[
            (8, "NUMFILE"),
            (9, "OOMGUARPAGES"),
            (15, "IOLIMIT"),
            (22, "NAMESERVER"),
            (25, "FEATURES"),
            (28, "MINE"),
        ],
    );
    let import = import(Format::Openvz, &files);
    assert_eq!(import.root.as_deref(), Some("/vz/private/101"));
    assert_eq!(import.name.as_deref(), Some("shop"));
}

#[test]
fn what_the_checker_refuses_is_reported_with_its_reason() {
    for (format, said, key) in [
        (Format::Legacy, "S_HOSTNAME=no_name\nS_NICE=99\nONBOOT=yes\n", "autostart = true"),
        (Format::Openvz, "HOSTNAME=a_b\nNUMPROC=0\nONBOOT=yes\n", "autostart = true"),
        (
            Format::Lxc,
            "lxc.uts.name = a_b\nlxc.prlimit.nofile = 3\nlxc.start.auto = 1\n",
            "autostart = true",
        ),
    ] {
        let import = import(format, &[text("f", said)]);
        assert_eq!(import.config, parse::parse(key).unwrap());
        let missing = import.settings.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Missing(why) => Some(why.clone()),
            _ => None,
        });
        let missing: Vec<String> = missing.collect();
        assert_eq!(missing.len(), 2, "{missing:?}");
        assert!(missing[0].contains("is no host name"), "{missing:?}");
    }
}

#[test]
fn the_setting_that_is_wrong_goes_and_no_other() {
    let twice = "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.ipv4.address = 10.0.0.5/24\n\
                 lxc.net.0.ipv4.address = 10.0.0.5\nlxc.net.0.ipv4.address = 10.0.0.6/24\n\
                 lxc.mount.entry = /a srv/a none bind 0 0\nlxc.mount.entry = /b srv/a none bind 0 0\n\
                 lxc.mount.entry = /c srv/c none bind 0 0\n";
    becomes(
        Format::Lxc,
        &[text("config", twice)],
        "network.bridge = \"br0\"\nnetwork.addresses = [\"10.0.0.5/24\", \"10.0.0.6/24\"]\n\
         mounts.bind = [\"/a:/srv/a\", \"/c:/srv/c\"]\n",
        &[(4, "lxc.net.0.ipv4.address"), (7, "lxc.mount.entry")],
    );
}

#[test]
fn a_thousand_mistakes_are_reported_as_well() {
    let line = |number| format!("lxc.mount.entry = /{number} srv none bind 0 0\n");
    let said: String = (0..1000).map(line).collect();
    let import = import(Format::Lxc, &[text("config", &said)]);
    assert_eq!(import.config.mounts.bind.len(), 1);
    let missing =
        import.settings.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Missing(_)));
    assert_eq!(missing.count(), 999);
}

const INCUS: &str = r#"{
	"architecture": "x86_64",
	"config": {},
	"description": "shop of customer 17",
	"devices": {},
	"ephemeral": false,
	"expanded_config": {
		"boot.autostart": "true",
		"boot.autostart.priority": "10",
		"environment.LANG": "C.UTF-8",
		"image.os": "Debian",
		"limits.cpu": "2",
		"limits.memory": "1GiB",
		"limits.memory.swap": "false",
		"security.nesting": "true",
		"volatile.eth0.hwaddr": "00:16:3e:00:00:01"
	},
	"expanded_devices": {
		"eth0": {
			"ipv4.address": "192.0.2.10",
			"nictype": "routed",
			"parent": "eth0",
			"type": "nic"
		},
		"fuse": {
			"path": "/dev/fuse",
			"type": "unix-char"
		},
		"root": {
			"path": "/",
			"pool": "default",
			"size": "10GiB",
			"type": "disk"
		},
		"web": {
			"connect": "tcp:127.0.0.1:80",
			"listen": "tcp:0.0.0.0:80",
			"type": "proxy"
		},
		"www": {
			"path": "/srv/www",
			"readonly": "true",
			"source": "/srv/shared/www",
			"type": "disk"
		}
	},
	"name": "shop",
	"profiles": ["default"],
	"status": "Stopped",
	"type": "container"
}
"#;

#[test]
fn an_instance_of_incuss_is_read_with_its_profiles() {
    let files = [text("/root/shop.json", INCUS)];
    becomes(
        Format::Incus,
        &files,
        "description = \"shop of customer 17\"\nautostart = true\n\
         boot.environment = { LANG = \"C.UTF-8\" }\n[network]\naddresses = [\"192.0.2.10\"]\n\
         proxy_arp = \"eth0\"\n[security]\nnesting = true\n[limits]\ncpus = 2\nmemory = \"1G\"\n\
         swap = 0\ndisk = \"10G\"\n[devices]\nallow = [\"/dev/fuse rw\"]\n[mounts]\n\
         bind = [\"/srv/shared/www:/srv/www:ro\"]\n",
        &[
            (9, "config.boot.autostart.priority"),
            (36, "devices.web.connect"),
            (37, "devices.web.listen"),
            (38, "devices.web.type"),
        ],
    );
    let import = import(Format::Incus, &files);
    assert_eq!(import.name.as_deref(), Some("shop"));
    let root = "/var/lib/incus/storage-pools/default/containers/shop";
    assert_eq!(import.root.as_deref(), Some(root));
}
