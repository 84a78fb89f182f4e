"""What the official validator finds wrong in our FOCUS files, and why that is known; nothing else may be found.

By rule, or the beginning of rules. All that is here fails for every file that is right, or for reasons told.
"""

_CONTRADICTS = "it says that InvoiceId must not be null, and InvoiceId-C-004-C that it must be: both of every row"
#: In every file.
ALWAYS = {"InvoiceId-C-005-C": _CONTRADICTS}

_EVERY_CRITERION = """meant for providers with a public price list and a virtual currency (or two currencies); the
    validator takes it for all that have one of these"""
_COMMITMENT = """its condition reads CommitmentDiscountStatus, a column for providers of commitment discounts; the
    validator cannot evaluate it without the column, and with it all that it depends on"""
#: Where the validator is told what OpenAI supports (``CRITERIA``), which it leaves out otherwise.
WITH_CRITERIA = {
    "CostAndUsage-D-046-C": _EVERY_CRITERION,
    "CostAndUsage-D-047-C": _EVERY_CRITERION,
    "CostAndUsage-D-048-C": _EVERY_CRITERION,
    "CostAndUsage-D-050-C": _EVERY_CRITERION,
    "CostAndUsage-D-051-C": _EVERY_CRITERION,
    "CostAndUsage-D-052-C": _EVERY_CRITERION,
    "CostAndUsage-D-054-C": _EVERY_CRITERION,
    "CostAndUsage-D-055-C": _EVERY_CRITERION,
    "CostAndUsage-D-056-C": _EVERY_CRITERION,
    "PricingCurrencyContractedUnitPrice-C-": _EVERY_CRITERION,
    "PricingCurrencyEffectiveCost-C-": _EVERY_CRITERION,
    "PricingCurrencyListUnitPrice-C-": _EVERY_CRITERION,
    "ConsumedQuantity-C-000-C": _COMMITMENT,
    "ConsumedQuantity-C-003-C": _COMMITMENT,
    "ConsumedQuantity-C-004-C": _COMMITMENT,
    "ConsumedQuantity-C-005-C": _COMMITMENT,
    "ConsumedQuantity-C-006-C": _COMMITMENT,
}
#: What is true of token APIs, so that rules for these things are checked as well.
CRITERIA = (
    "ACCOUNT_NAMING_SUPPORTED",
    "NEGOTIATED_PRICING_SUPPORTED",
    "PUBLIC_PRICE_LIST_SUPPORTED",
    "SUB_ACCOUNT_SUPPORTED",
    "TAGGING_SUPPORTED",
    "UNIT_PRICING_SUPPORTED",
    "USAGE_MEASUREMENT_SUPPORTED",
)

_NO_ROW = "no row has an allowed value where there is no row; the validator counts rows that agree"
#: In a file without rows.
WITHOUT_ROWS = {
    "ChargeCategory-C-000-M": _NO_ROW,
    "ChargeCategory-C-003-M": _NO_ROW,
    "ChargeFrequency-C-000-O": _NO_ROW,
    "ChargeFrequency-C-003-M": _NO_ROW,
    "ServiceCategory-C-000-M": _NO_ROW,
    "ServiceCategory-C-003-M": _NO_ROW,
    "ServiceSubcategory-C-000-O": _NO_ROW,
    "ServiceSubcategory-C-003-M": _NO_ROW,
    "ServiceSubcategory-C-004-M": _NO_ROW,
}

_ASCII = "a model's name is told as it is; FOCUS asks for unaltered texts, the validator for ASCII"
#: Where a model's name is not ASCII.
WITH_FOREIGN_NAMES = {
    "ChargeDescription-C-000-M": _ASCII,
    "ChargeDescription-C-002-M": _ASCII,
}
WITH_FOREIGN_NAMES_AND_CRITERIA = {"SkuId-C-000-C": _ASCII, "SkuId-C-002-M": _ASCII}
