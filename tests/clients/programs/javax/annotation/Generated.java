package javax.annotation;

/** What generated code is marked with; it is no longer part of Java. */
public @interface Generated {
  String[] value();

  String date() default "";

  String comments() default "";
}
