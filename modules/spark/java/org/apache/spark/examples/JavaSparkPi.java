package org.apache.spark.examples;

/** The name under which Spark's documentation has the Java version. */
public final class JavaSparkPi {
    private JavaSparkPi() {}

    public static void main(String[] arguments) {
        SparkPi.main(arguments);
    }
}
