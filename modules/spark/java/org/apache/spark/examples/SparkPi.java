package org.apache.spark.examples;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.SparkSession;

/**
 * Estimates pi by throwing darts at a square: SparkPi [slices].
 *
 * <p>Spark's sources have a program of this name, but the packages that carry Spark on a registry leave the compiled examples
 * out. This one takes the same argument and prints the same line, so what people know keeps working.
 */
public final class SparkPi {
    private SparkPi() {}

    private static final int DARTS_PER_SLICE = 100_000;

    public static void main(String[] arguments) {
        int slices = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 2;
        SparkSession spark = SparkSession.builder().appName("Spark Pi").getOrCreate();
        List<Integer> work = new ArrayList<>(slices);
        for (int i = 0; i < slices; i++) work.add(DARTS_PER_SLICE);

        long darts = (long) DARTS_PER_SLICE * slices;
        long inside = new JavaSparkContext(spark.sparkContext()).parallelize(work, slices).map(SparkPi::countInside)
                .reduce(Long::sum);
        System.out.println("Pi is roughly " + 4.0 * inside / darts);
        spark.stop();
    }

    private static long countInside(int darts) {
        ThreadLocalRandom random = ThreadLocalRandom.current();
        long inside = 0;
        for (int i = 0; i < darts; i++) {
            double x = random.nextDouble() * 2 - 1;
            double y = random.nextDouble() * 2 - 1;
            if (x * x + y * y <= 1) inside++;
        }
        return inside;
    }
}
