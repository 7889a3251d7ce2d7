"""The peers' servers: each is started in a fresh directory on 127.0.0.1, on a port that is free, with everything durable
that its program can do before it answers OK (unless its name says otherwise), and ends with this process.

A class knows what has to be installed (`missing`), how to start its server, and which program measures it.
"""

import ctypes
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Peer:
    """One server. `goal`: what the issue of this benchmark asks of jobq's full cycle against it."""
    name = ""
    durable = True
    goal = None
    program = ""          # the executable of bench/peers, or bullmq/bench.js
    packages = ""         # what apt installs
    server_program = ""
    variant = ""
    fresh = True          # a start is cheap: one for each measurement
    backlog = 300_000     # for the row of deliveries alone
    patience_s = 20
    warm_up = 0           # where it needs longer than others

    def __init__(self, build, parent_directory):
        self.build = build
        self.parent_directory = parent_directory
        self.process = None
        self.directory = None
        self.port = 0
        self.log = None

    # ---- what is installed ----

    def server_path(self):
        return shutil.which(self.server_program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin")

    def missing(self):
        """None, or the sentence that says what to install."""
        if self.server_path() is None:
            return f"{self.server_program} is not installed: apt-get install --no-install-recommends {self.packages}"
        program = pathlib.Path(self.build, "bench", "peers", self.program)
        if not program.exists():
            return (f"{self.program} was not built, its client library is missing: "
                    f"apt-get install --no-install-recommends {self.packages}, then once more")
        return None

    def command(self):
        """The measuring program and what only this peer needs."""
        words = [os.path.join(self.build, "bench", "peers", self.program)]
        return words + (["--variant", self.variant] if self.variant else [])

    # ---- its life ----

    def server_command(self):
        raise NotImplementedError

    def environment(self):
        return None

    def user(self):
        return None

    def before_start(self):
        pass

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    def start(self):
        self.directory = tempfile.mkdtemp(prefix="jobq-peer-", dir=self.parent_directory)
        if self.user():
            os.chmod(self.directory, 0o711)
        self.port = free_port()
        self.before_start()
        self.log = pathlib.Path(self.directory, "server.log")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.server_command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(),
                user=self.user(), group=self.user(), extra_groups=[] if self.user() else None, cwd=self.directory,
                start_new_session=True, preexec_fn=end_with_parent)
        deadline = time.monotonic() + self.patience_s
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-2000:]
                self.stop()
                raise RuntimeError(f"{self.name} did not start: {tail}")
            time.sleep(0.02)

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                pass
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
            self.process = None
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None

    def freeze(self, frozen):
        """So that a server that goes on running takes nothing from the other half of a pair."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGSTOP if frozen else signal.SIGCONT)


class Redis(Peer):
    name = "Redis Streams, appendfsync always"
    goal = 1.5
    program = "peer_redis"
    packages = "redis-server libhiredis-dev"
    server_program = "redis-server"
    backlog = 500_000

    def server_command(self):
        return [self.server_path(), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", self.directory,
                "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"]

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


class BullMq(Redis):
    name = "BullMQ on Redis, appendfsync always"
    goal = 15
    packages = "redis-server nodejs npm"
    program = "bullmq"
    backlog = 60_000
    warm_up = 2           # node, and a worker that fills its hundred places one after the other

    def missing(self):
        if self.server_path() is None or shutil.which("node") is None:
            return f"redis-server or node is not installed: apt-get install --no-install-recommends {self.packages}"
        if not pathlib.Path(self.build, "bullmq", "node_modules", "bullmq").exists():
            return f"BullMQ is not installed: npm install --prefix {self.build}/bullmq {HERE}/bullmq (bench/peers.sh does it)"
        return None

    def command(self):
        return ["node", os.path.join(self.build, "bullmq", "bench.js")]


class Postgres(Peer):
    name = "PostgreSQL, SKIP LOCKED, batches of 1,000"
    goal = 1.5
    program = "peer_postgres"
    packages = "postgresql libpq-dev"
    server_program = "postgres"
    fresh = False
    backlog = 400_000

    def tool(self, name):
        found = shutil.which(name)
        if found:
            return found
        versions = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        return str(versions[-1]) if versions else None

    def server_path(self):
        return self.tool("postgres")

    def user(self):
        """PostgreSQL refuses to run as root."""
        return "postgres" if os.geteuid() == 0 else None

    def before_start(self):
        data = os.path.join(self.directory, "data")
        os.mkdir(data, 0o700)
        if self.user():
            owner = pwd.getpwnam(self.user())
            os.chown(data, owner.pw_uid, owner.pw_gid)
        subprocess.run([self.tool("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "--locale=C"],
                       user=self.user(), group=self.user(), extra_groups=[] if self.user() else None, check=True,
                       stdout=subprocess.DEVNULL, cwd=data)

    def server_command(self):
        data = os.path.join(self.directory, "data")
        return [self.server_path(), "-D", data, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c",
                f"unix_socket_directories={data}"]

    def answers(self):
        ready = subprocess.run([self.tool("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False)
        return ready.returncode == 0


class Beanstalkd(Peer):
    name = "beanstalkd, binlog with fsync"
    program = "peer_beanstalkd"
    packages = "beanstalkd"
    server_program = "beanstalkd"
    backlog = 20_000
    binlog = True

    def server_command(self):
        words = [self.server_path(), "-l", "127.0.0.1", "-p", str(self.port)]
        return words + (["-b", self.directory, "-f", "0"] if self.binlog else [])


class BeanstalkdInMemory(Beanstalkd):
    name = "beanstalkd without binlog"
    durable = False
    binlog = False
    backlog = 150_000


class Nats(Peer):
    name = "NATS JetStream, default sync"
    durable = False
    goal = 2.5
    program = "peer_nats"
    packages = "nats-server libnats-dev"
    server_program = "nats-server"
    backlog = 500_000

    def server_command(self):
        return [self.server_path(), "-js", "-a", "127.0.0.1", "-p", str(self.port), "-sd", self.directory]


class RabbitQuorum(Peer):
    name = "RabbitMQ quorum, confirms"
    goal = 6
    program = "peer_rabbitmq"
    packages = "rabbitmq-server librabbitmq-dev"
    server_program = "rabbitmq-server"
    variant = "quorum"
    fresh = False
    patience_s = 60
    backlog = 120_000

    def __init__(self, build, parent_directory):
        super().__init__(build, parent_directory)
        self.names = None

    def before_start(self):
        # The name service of Erlang, our own one on its own port, so that it ends with us.
        self.epmd_port = free_port()
        epmd = shutil.which("epmd") or next(map(str, pathlib.Path("/usr/lib/erlang").glob("erts-*/bin/epmd")))
        self.names = subprocess.Popen([epmd, "-address", "127.0.0.1", "-port", str(self.epmd_port)],
                                      preexec_fn=end_with_parent, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)
        with open(os.path.join(self.directory, "rabbitmq.conf"), "w", encoding="ascii") as settings:
            settings.write(f"listeners.tcp.1 = 127.0.0.1:{self.port}\n")
        open(os.path.join(self.directory, "plugins"), "w", encoding="ascii").write("[].\n")

    def environment(self):
        # Not the wrapper in /usr/sbin, which wants to be the system's own server.
        return {"PATH": "/usr/lib/rabbitmq/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": self.directory,
                "LC_ALL": "C.UTF-8", "ERL_EPMD_PORT": str(self.epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1",
                "RABBITMQ_NODENAME": f"jobqbench{self.port}@localhost", "RABBITMQ_DIST_PORT": str(free_port()),
                "RABBITMQ_MNESIA_BASE": os.path.join(self.directory, "mnesia"), "RABBITMQ_LOG_BASE": self.directory,
                "RABBITMQ_CONFIG_FILE": os.path.join(self.directory, "rabbitmq.conf"),
                "RABBITMQ_CONF_ENV_FILE": os.path.join(self.directory, "none"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": os.path.join(self.directory, "plugins"),
                "RABBITMQ_PID_FILE": os.path.join(self.directory, "pid"),
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}"}

    def server_command(self):
        inner = "/usr/lib/rabbitmq/bin/rabbitmq-server"
        return [inner if os.path.exists(inner) else self.server_path()]

    def answers(self):
        """It listens some time before it can be used."""
        if not super().answers():
            return False
        log = pathlib.Path(self.directory, f"jobqbench{self.port}@localhost.log")
        return log.exists() and "Server startup complete" in log.read_text(errors="replace")

    def stop(self):
        super().stop()
        if self.names is not None:
            self.names.kill()
            self.names.wait()
            self.names = None


class RabbitClassic(RabbitQuorum):
    name = "RabbitMQ classic durable, confirms"
    goal = None
    variant = "classic"
    backlog = 80_000


PEERS = {"redis": Redis, "postgres": Postgres, "beanstalkd": Beanstalkd, "rabbitmq": RabbitQuorum,
         "rabbitmq-classic": RabbitClassic, "nats": Nats, "bullmq": BullMq, "beanstalkd-memory": BeanstalkdInMemory}
