package org.apache.spark.examples;

import java.util.Arrays;
import java.util.List;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.sql.SparkSession;
import scala.Tuple2;

/** Counts the blank-separated words of a text: JavaWordCount FILE. Prints `word: count` lines. */
public final class JavaWordCount {
    private JavaWordCount() {}

    public static void main(String[] arguments) {
        if (arguments.length != 1) {
            System.err.println("usage: JavaWordCount FILE");
            System.exit(2);
        }
        SparkSession spark = SparkSession.builder().appName("JavaWordCount").getOrCreate();
        JavaPairRDD<String, Integer> counts = spark.read().textFile(arguments[0]).javaRDD()
                .flatMap(line -> Arrays.asList(line.trim().split("\\s+")).iterator())
                .filter(word -> !word.isEmpty())
                .mapToPair(word -> new Tuple2<>(word, 1))
                .reduceByKey(Integer::sum);
        List<Tuple2<String, Integer>> all = counts.collect();
        for (Tuple2<String, Integer> one : all) System.out.println(one._1() + ": " + one._2());
        spark.stop();
    }
}
