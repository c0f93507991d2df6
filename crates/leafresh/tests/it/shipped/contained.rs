//! The shipped files in a mount namespace of their own, which comes near to what runs them: a root, mounts, a user without rights.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::Duration;

use leafresh_server::config::Config;
use tempfile::TempDir;
use yaml_rust2::{Yaml, YamlLoader};

use super::*;
use crate::kernel;
use crate::support::{Connection, get};

/// What a mount shows.
enum Shown {
    State,
    Models,
    Empty,
}

/// How the program is started.
struct Container {
    command: Vec<String>,
    environment: Vec<(String, String)>,
    folder: String,
    user: u32,
    group: u32,
    read_only: bool,
    mounts: Vec<(String, Shown)>,
}

/// What lies outside of a container.
struct Outside {
    folder: TempDir,
    models: PathBuf,
}

impl Outside {
    /// `None` where a test may make no namespaces.
    fn new() -> Option<Self> {
        let models = Path::new(&model()?).parent().unwrap().to_owned();
        let tried = Command::new("unshare").args(["--mount", "setpriv", "--version"]).output();
        if !rustix::process::geteuid().is_root() || !tried.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: namespaces need root, unshare and setpriv");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        for name in ["state", "root"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Some(Self { folder, models })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Who may write what is kept.
    fn give_state(&self, user: u32, group: u32, mode: u32) {
        let state = self.path("state");
        chown(&state, Some(user), Some(group)).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// This machine's programs and libraries, read-only, and of its devices the harmless ones; nothing in the homes.
    fn script(&self, container: &Container) -> String {
        let root = self.path("root");
        let mut script = format!(
            "set -eu\nR='{}'\nmount -t tmpfs -o mode=755 tmpfs \"$R\"\ncd \"$R\"
             for d in usr lib lib32 lib64 bin sbin etc; do
               if [ -L /$d ]; then cp -P /$d $d
               elif [ -d /$d ]; then mkdir $d; mount --bind /$d $d; mount -o remount,bind,ro $d; fi
             done
             for d in proc sys; do mkdir $d; mount --rbind /$d $d; done
             mkdir dev; mount -t tmpfs -o mode=755 tmpfs dev
             for d in null zero full random urandom; do : > dev/$d; mount --bind /dev/$d dev/$d; done
             mount -t tmpfs -o mode=755 tmpfs usr/local/bin
             : > usr/local/bin/leafresh; mount --bind '{}' usr/local/bin/leafresh\n",
            root.display(),
            env!("CARGO_BIN_EXE_leafresh")
        );
        for (at, shown) in &container.mounts {
            let at = at.trim_start_matches('/');
            let line = match shown {
                Shown::State => format!("mount --bind '{}' {at}", self.path("state").display()),
                Shown::Models => {
                    let models = self.models.display();
                    format!("mount --bind '{models}' {at}; mount -o remount,bind,ro {at}")
                }
                Shown::Empty => format!("mount -t tmpfs -o mode=1777 tmpfs {at}"),
            };
            writeln!(script, "mkdir -p {at}; {line}").unwrap();
        }
        if container.read_only {
            script += "mount -o remount,ro \"$R\"\n";
        }
        let Container { user, group, .. } = container;
        let none = "--no-new-privs --inh-caps=-all --bounding-set=-all";
        writeln!(
            script,
            "exec chroot \"$R\" setpriv --reuid={user} --regid={group} --clear-groups {none} env -i \"$@\""
        )
        .unwrap();
        script
    }

    /// Starts it, as it is but for the port and the number of threads, asks it, and ends it in order.
    async fn run(&self, container: &Container, paths: &[&str]) {
        let log = self.path("log");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &self.script(container), "sh"]);
        command.args(["-C", &container.folder, "LEAFRESH_ENGINE__THREADS=1"]);
        command.args(container.environment.iter().map(|(name, value)| format!("{name}={value}")));
        command.args(container.command.iter().map(|word| word.replace(":8000", ":0")));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
        let program = Program::spawn(command);
        let status = fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
        let has = |name: &str, value: &str| {
            let fields = |line: &str| line.split_whitespace().take(2).eq([name, value]);
            assert!(status.lines().any(fields), "{name} {value}: {status}");
        };
        has("Uid:", &container.user.to_string());
        has("CapEff:", "0000000000000000");
        for path in paths {
            let asked = async || Connection::ask(program.address, &get(path, &[])).await.status();
            for _ in 0..1800 {
                if asked().await == 200 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            assert_eq!(asked().await, 200, "{path}: {}", fs::read_to_string(&log).unwrap());
        }
        let said = answers_confined(program, &log).await;
        assert!(!said.contains("unknown key"), "{said}");
    }

    fn has_conversations(&self, below: &str) {
        assert!(self.path("state").join(below).join("sessions.db").exists(), "they lie in the volume");
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn pair(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

/// Field report 1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_unit_serves_as_its_user_on_a_root_that_can_not_be_written() {
    let Some(outside) = Outside::new() else { return };
    let unit = shipped("leafresh.service");
    let one = |name: &str| settings(&unit, name).pop().unwrap();
    for (name, value) in [
        ("DynamicUser", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("CapabilityBoundingSet", ""),
    ] {
        assert_eq!(one(name), value, "{name}");
    }
    let (user, state) = (61_184, format!("/var/lib/{}", one("StateDirectory")));
    outside.give_state(user, user, 0o750);
    let mut environment = vec![
        pair("PATH", "/usr/local/bin:/usr/bin"),
        pair("USER", "leafresh"),
        pair("HOME", "/"),
        pair("STATE_DIRECTORY", &state),
    ];
    environment.extend(settings(&unit, "Environment").iter().map(|setting| {
        let (name, value) = setting.split_once('=').unwrap();
        pair(name, value)
    }));
    let container = Container {
        command: words(&one("ExecStart")),
        environment,
        folder: one("WorkingDirectory"),
        user,
        group: user,
        read_only: true,
        mounts: vec![
            (state.clone(), Shown::State),
            (format!("{state}/models"), Shown::Models),
            ("/tmp".into(), Shown::Empty),
        ],
    };
    outside.run(&container, &["/health/live", "/health/ready"]).await;
    outside.has_conversations("");
}

/// Field report 2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manifest_s_pod_answers_its_probes_beside_its_service() {
    let Some(outside) = Outside::new() else { return };
    let documents = YamlLoader::load_from_str(&shipped("kubernetes.yaml")).unwrap();
    let kind = |name: &str| documents.iter().find(|one| one["kind"].as_str() == Some(name)).unwrap();
    let pod = &kind("Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let number = |value: &Yaml| u32::try_from(value.as_i64().unwrap()).unwrap();
    let texts = |value: &Yaml| -> Vec<String> {
        value.as_vec().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let security = &container["securityContext"];
    assert_eq!(texts(&security["capabilities"]["drop"]), ["ALL"]);
    assert_eq!(security["allowPrivilegeEscalation"].as_bool(), Some(false));
    let user = &pod["securityContext"];
    assert_eq!(user["runAsNonRoot"].as_bool(), Some(true));
    // As a volume that is its group's.
    outside.give_state(0, number(&user["fsGroup"]), 0o2775);

    let mut environment = vec![pair("PATH", "/usr/local/bin:/usr/bin:/bin"), pair("HOME", "/")];
    environment.extend(
        container["env"]
            .as_vec()
            .unwrap()
            .iter()
            .map(|variable| pair(variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap())),
    );
    let service = kind("Service");
    let name = service["metadata"]["name"].as_str().unwrap().to_uppercase().replace('-', "_");
    let address = "10.96.12.7";
    environment.push(pair(&format!("{name}_SERVICE_HOST"), address));
    for port in service["spec"]["ports"].as_vec().unwrap() {
        let (label, port) = (port["name"].as_str().unwrap(), port["port"].as_i64().unwrap().to_string());
        let url = format!("tcp://{address}:{port}");
        environment.extend([
            pair(&format!("{name}_SERVICE_PORT"), &port),
            pair(&format!("{name}_SERVICE_PORT_{}", label.to_uppercase()), &port),
            pair(&format!("{name}_PORT"), &url),
            pair(&format!("{name}_PORT_{port}_TCP"), &url),
            pair(&format!("{name}_PORT_{port}_TCP_PROTO"), "tcp"),
            pair(&format!("{name}_PORT_{port}_TCP_PORT"), &port),
            pair(&format!("{name}_PORT_{port}_TCP_ADDR"), address),
        ]);
    }
    assert!(environment.iter().any(|(name, value)| name == "LEAFRESH_PORT" && value.starts_with("tcp://")));

    let shown = |mount: &Yaml| {
        let of_name = |volume: &&Yaml| volume["name"] == mount["name"];
        let volume = pod["volumes"].as_vec().unwrap().iter().find(of_name).unwrap();
        let kept = !volume["persistentVolumeClaim"].is_badvalue();
        (mount["mountPath"].as_str().unwrap().to_owned(), if kept { Shown::State } else { Shown::Empty })
    };
    let mut mounts: Vec<_> = container["volumeMounts"].as_vec().unwrap().iter().map(shown).collect();
    let volume = mounts.iter().find(|(_, shown)| matches!(shown, Shown::State)).unwrap().0.clone();
    mounts.push((format!("{volume}/models"), Shown::Models));
    let probes = ["startupProbe", "livenessProbe", "readinessProbe"].map(|name| {
        let get = &container[name]["httpGet"];
        assert_eq!(get["port"], container["ports"][0]["name"], "{name}");
        get["path"].as_str().unwrap()
    });
    let drain = Config::default().server.drain_seconds.0;
    assert!(Duration::from_secs(number(&pod["terminationGracePeriodSeconds"]).into()) > drain);
    let command = [texts(&container["command"]), texts(&container["args"])].concat();
    let port = container["ports"][0]["containerPort"].as_i64().unwrap();
    assert!(command.iter().any(|word| word.ends_with(&format!(":{port}"))), "it listens where it is asked");
    let started = Container {
        command,
        environment,
        folder: container["workingDir"].as_str().unwrap().to_owned(),
        user: number(&user["runAsUser"]),
        group: number(&user["runAsGroup"]),
        read_only: security["readOnlyRootFilesystem"].as_bool().unwrap(),
        mounts,
    };
    assert!(started.read_only);
    outside.run(&started, &probes).await;
    outside.has_conversations("data");
}

/// Field report 3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_compose_file_s_service_serves_with_its_empty_variables() {
    let Some(outside) = Outside::new() else { return };
    let documents = YamlLoader::load_from_str(&shipped("compose.yaml")).unwrap();
    let service = &documents[0]["services"]["leafresh"];
    let texts = |name: &str| -> Vec<String> {
        service[name].as_vec().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts("cap_drop"), ["ALL"]);
    let (user, group) = service["user"].as_str().unwrap().split_once(':').unwrap();
    let [user, group] = [user, group].map(|number| number.parse().unwrap());
    outside.give_state(user, group, 0o755);
    let mut environment = vec![pair("PATH", "/usr/local/bin:/usr/bin:/bin"), pair("HOME", "/")];
    environment.extend(service["environment"].as_hash().unwrap().iter().map(|(name, value)| {
        let (name, value) = (name.as_str().unwrap(), value.as_str().unwrap());
        // Set in no shell and no `.env`.
        pair(name, if value == format!("${{{name}:-}}") { "" } else { value })
    }));
    assert!(environment.iter().any(|(name, value)| name.starts_with("LEAFRESH_") && value.is_empty()));
    let mut mounts: Vec<_> = texts("tmpfs").into_iter().map(|at| (at, Shown::Empty)).collect();
    for volume in texts("volumes") {
        let parts: Vec<&str> = volume.split(':').collect();
        mounts.push(match parts[..] {
            ["./models", at, "ro"] => (at.to_owned(), Shown::Models),
            [name, at] if !documents[0]["volumes"][name].is_badvalue() => (at.to_owned(), Shown::State),
            _ => panic!("{volume}"),
        });
    }
    let started = Container {
        command: texts("command"),
        environment,
        folder: service["working_dir"].as_str().unwrap().to_owned(),
        user,
        group,
        read_only: service["read_only"].as_bool().unwrap(),
        mounts,
    };
    assert!(started.read_only);
    outside.run(&started, &["/health/ready"]).await;
    outside.has_conversations("");
}

/// All names of a list of system calls, and of the lists in it. `None` without systemd.
fn system_calls(list: &str) -> Option<Vec<String>> {
    let output =
        Command::new("systemd-analyze").args(["--no-pager", "syscall-filter", list]).output().ok()?;
    let mut names = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines().skip(1) {
        match line.trim() {
            name if name.is_empty() || name.starts_with('#') => {}
            name if name.starts_with('@') => names.extend(system_calls(name)?),
            name => names.push(name.to_owned()),
        }
    }
    Some(names)
}

/// Field report 46: with those alone that the unit allows, the engine's process can still give up the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_unit_s_system_calls_are_enough() {
    let Some(model) = model() else { return };
    let unit = shipped("leafresh.service");
    let mut allowed = Vec::new();
    for word in settings(&unit, "SystemCallFilter").iter().flat_map(|line| words(line)) {
        match word.strip_prefix('@') {
            None => allowed.push(word),
            Some(_) => match system_calls(&word) {
                Some(names) if !names.is_empty() => allowed.extend(names),
                _ => {
                    eprintln!("skipped: there is no systemd-analyze that knows {word}");
                    return;
                }
            },
        }
    }
    assert_eq!(settings(&unit, "SystemCallErrorNumber"), ["EPERM"]);
    // What systemd lets every service call.
    allowed.extend(system_calls("@default").unwrap());
    allowed.push("execve".into());
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let filtered = |command: &mut Command| {
        command.stderr(fs::File::create(&log).unwrap());
        kernel::allows_only(&allowed);
    };
    let program = Program::start_with("127.0.0.1:0", &model, filtered).await;
    answers_confined(program, &log).await;
}

/// It answers, ends when it is asked to, and its engine was confined as far as the kernel can. Gives its log.
async fn answers_confined(mut program: Program, log: &Path) -> String {
    assert_answers(&program).await;
    program.signal("TERM");
    assert_eq!(program.ended().code(), Some(0));
    let said = fs::read_to_string(log).unwrap();
    assert!(!said.contains("isn't kept from the network"), "{said}");
    assert!(!kernel::has_landlock() || !said.contains("isn't kept from other files"), "{said}");
    said
}
