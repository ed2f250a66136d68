DROP TABLE "shrinkage"."ml_model_registry";

DROP TABLE "shrinkage"."data_lineage";

DROP TABLE "shrinkage"."feedback_preferences";

DROP TABLE "shrinkage"."pattern_validations";

DROP TABLE "shrinkage"."surplus_patterns";

DROP TABLE "shrinkage"."surplus_recommendations";

DROP TABLE "shrinkage"."surplus_specifications";

DROP TABLE "shrinkage"."priority_periods";

DROP TABLE "shrinkage"."validation_errors";

DROP TABLE "shrinkage"."ai_patterns";

DROP TABLE "shrinkage"."analytics";

DROP TABLE "shrinkage"."preliminary_forecasts";

DROP TABLE "shrinkage"."forecasts";

DROP TABLE "shrinkage"."coefficients";

DROP TABLE "shrinkage"."calculation_data";

DROP TABLE "shrinkage"."models";

DROP TABLE "shrinkage"."nomenclature";

DROP TABLE "shrinkage"."source_data";

DROP SCHEMA "shrinkage";
