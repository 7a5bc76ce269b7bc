package kiln;

import java.io.FileInputStream;
import java.io.IOException;
import org.apache.spark.SecurityManager;
import org.apache.spark.SparkConf;
import org.apache.spark.deploy.worker.Worker;
import org.apache.spark.deploy.worker.WorkerArguments;
import org.apache.spark.rpc.RpcAddress;
import org.apache.spark.rpc.RpcEnv;
import org.apache.spark.util.SparkUncaughtExceptionHandler;
import org.apache.spark.util.Utils;
import org.slf4j.LoggerFactory;

/**
 * Starts a Spark worker that does everything at once except one thing: it speaks to a master only when the
 * file that KILN_GATE names gives a byte.
 *
 * <p>A worker that tries to register before the master is ALIVE waits 5 to 15 seconds before it tries again, so people
 * start masters first and workers after. But nearly all of a worker's start (the JVM, its classes, the RPC port, the web
 * page) needs no master and can run beside the master's own. Spark has no switch for that. What it has is one place where
 * a registration looks at the master's address: on its own thread, "worker-register-master-…", just before it connects.
 * So the addresses given to the worker are of a kind that blocks that thread, and no other, until the gate is open.
 *
 * <p>Everything else is what Worker.main and Worker.startRpcEnvAndEndpoint do. Spark's own retry (after 5 to 15 s)
 * interrupts the waiting thread and starts another, which waits in the same place.
 */
public final class Gate {
    private static final Object lock = new Object();
    private static boolean open;

    private Gate() {}

    public static void main(String[] arguments) throws Exception {
        String fifo = System.getenv("KILN_GATE");
        if (fifo == null || fifo.isEmpty()) {
            Worker.main(arguments);
            return;
        }
        Thread.setDefaultUncaughtExceptionHandler(new SparkUncaughtExceptionHandler(false));
        Utils.initDaemon(LoggerFactory.getLogger(Worker.class));
        waitInBackground(fifo);

        SparkConf conf = new SparkConf();
        WorkerArguments parsed = new WorkerArguments(arguments, conf);  // reads spark-defaults.conf into conf
        SecurityManager security = new SecurityManager(conf, SecurityManager.$lessinit$greater$default$2(),
                SecurityManager.$lessinit$greater$default$3());
        RpcEnv rpc = RpcEnv.create("sparkWorker", parsed.host(), parsed.port(), conf, security, false);
        String[] urls = parsed.masters();
        RpcAddress[] masters = new RpcAddress[urls.length];
        for (int i = 0; i < urls.length; i++) {
            RpcAddress plain = RpcAddress.fromSparkURL(urls[i]);
            masters[i] = new GatedAddress(plain.host(), plain.port());
        }
        rpc.setupEndpoint("Worker", new Worker(rpc, parsed.webUiPort(), parsed.cores(), parsed.memory(), masters, "Worker",
                parsed.workDir(), conf, security, conf.getOption("spark.worker.resourcesFile"),
                Worker.$lessinit$greater$default$11()));
        rpc.awaitTermination();
    }

    /** Opening a FIFO for reading blocks until someone opens it for writing, so this needs a thread of its own. */
    private static void waitInBackground(String fifo) {
        Thread thread = new Thread(() -> {
            try (FileInputStream in = new FileInputStream(fifo)) {
                in.read();
            } catch (IOException e) {
                // Better an early try, with Spark's own retries behind it, than a worker that never comes.
                System.err.println("kiln: cannot read the gate '" + fifo + "': " + e.getMessage());
            }
            synchronized (lock) {
                open = true;
                lock.notifyAll();
            }
        }, "kiln-gate");
        thread.setDaemon(true);
        thread.start();
    }

    private static void pass() {
        if (!Thread.currentThread().getName().startsWith("worker-register-master")) return;
        synchronized (lock) {
            while (!open) {
                try {
                    lock.wait();
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                    throw new IllegalStateException("the masters are not ready yet");
                }
            }
        }
    }

    /** An address that can be compared and printed by all, but followed only through the gate. */
    private static final class GatedAddress extends RpcAddress {
        GatedAddress(String host, int port) {
            super(host, port);
        }

        @Override
        public String host() {
            pass();
            return super.host();
        }
    }
}
