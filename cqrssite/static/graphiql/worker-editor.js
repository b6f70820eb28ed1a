import{a}from"./chunk-P2VCC7SK.js";import"./chunk-AQRMMRJR.js";import"./chunk-K2F42YIX.js";import"./chunk-KPCEWIVW.js";import"./chunk-FOVRS2L6.js";import"./chunk-IYWUY3VA.js";export{a as initialize};
